// C[z] = activation(scale · op(A[z]) · op(B[z]) + bias) + residual, for z = 0 … blocks − 1
//
// op(A) is m×k, op(B) is k×n; op transposes if TRANS_A / TRANS_B is 1 (NN, NT and TN are used). Every matrix
// is row-major with a leading dimension (ld_*), and block z starts at z·stride_*, so a matrix cut into column
// or row blocks is multiplied in place. All sizes are in floats.
//
// Tiling: an invocation owns a TILE_M×TILE_N register tile of C and walks k in steps of K_STEP, without
// workgroup memory. Loads are vec4 along the contiguous dimension where the operand allows it (VEC_A, VEC_B,
// VEC_C), otherwise scalar with a zero guard. Rows and columns past the edge are clamped on load and not
// stored.
// Grid: x over the columns of all blocks, y over rows. Lanes run on from one block's columns to the next
// block's, so narrow blocks leave none idle. Accumulation is in f32, in order of k: same bits every run.
// include/matmul.wgsl defines the bindings and RESIDUAL, BIAS, ACTIVATION, GELU, SLOPE, LOW_RANK and load_b.

#include "matmul.wgsl"

#if !VEC_A
// The element of A at `index`, or 0 if the caller's k is out of range.
fn a_at(index: u32, inside: bool) -> f32 {
  return select(0.0, a[select(0u, index, inside)], inside);
}
#end
#if !VEC_B
fn b_at(index: u32, inside: bool) -> f32 {
  return select(0.0, b[select(0u, index, inside)], inside);
}
#end

@compute @workgroup_size(${GROUP_N}, ${GROUP_M}, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let tiles = (params.n + ${TILE_N - 1}u) / ${TILE_N}u;
  let block = id.x / tiles;
  let row0 = id.y * ${TILE_M}u;
  let col0 = id.x % tiles * ${TILE_N}u;
  if (row0 >= params.m || block >= params.blocks) {
    return;
  }
  let a0 = params.start_a + block * params.stride_a;
  let b0 = params.start_b + block * params.stride_b;

#if TRANS_A
#for p in 0..TILE_M / 4
#if VEC_A
  let a_col${p} = (a0 + min(row0 + ${4 * p}u, params.m - 4u)) / 4u;
#else
#for e in 0..4
  let a_col${4 * p + e} = a0 + min(row0 + ${4 * p + e}u, params.m - 1u);
#end
#end
#end
#else
#for i in 0..TILE_M
  let a_row${i} = a0 + min(row0 + ${i}u, params.m - 1u) * params.ld_a;
#end
#end
#if TRANS_B
#for j in 0..TILE_N
  let b_row${j} = b0 + min(col0 + ${j}u, params.n - 1u) * params.ld_b;
#end
#else
#for q in 0..TILE_N / 4
#if VEC_B
  let b_col${q} = b0 + min(col0 + ${4 * q}u, params.n - 4u);
#else
#for e in 0..4
  let b_col${4 * q + e} = b0 + min(col0 + ${4 * q + e}u, params.n - 1u);
#end
#end
#end
#end
#for i in 0..TILE_M
#for q in 0..TILE_N / 4
  var c${i}_${q} = vec4f(0.0);
#end
#end

  for (var k = 0u; k < params.k; k += ${K_STEP}u) {
#if TRANS_B
#for j in 0..TILE_N
#if VEC_B
    let bt${j} = load_b((b_row${j} + k) / 4u);
#else
    let bt${j} = vec4f(b_at(b_row${j} + k, true), b_at(b_row${j} + k + 1u, k + 1u < params.k), b_at(b_row${j} + k + 2u, k + 2u < params.k), b_at(b_row${j} + k + 3u, k + 3u < params.k));
#end
#end
#for q in 0..TILE_N / 4
#for e in 0..4
    let b${e}_${q} = vec4f(bt${4 * q}[${e}], bt${4 * q + 1}[${e}], bt${4 * q + 2}[${e}], bt${4 * q + 3}[${e}]);
#end
#end
#else
#for e in 0..K_STEP
#for q in 0..TILE_N / 4
#if VEC_B
    let b${e}_${q} = load_b((b_col${q} + (k + ${e}u) * params.ld_b) / 4u);
#else
    let b_in${e}_${q} = k + ${e}u < params.k;
    let b_off${e}_${q} = (k + ${e}u) * params.ld_b;
    let b${e}_${q} = vec4f(b_at(b_col${4 * q} + b_off${e}_${q}, b_in${e}_${q}), b_at(b_col${4 * q + 1} + b_off${e}_${q}, b_in${e}_${q}), b_at(b_col${4 * q + 2} + b_off${e}_${q}, b_in${e}_${q}), b_at(b_col${4 * q + 3} + b_off${e}_${q}, b_in${e}_${q}));
#end
#end
#end
#end
#if TRANS_A
#for p in 0..TILE_M / 4
#if VEC_A
    let a${p} = a[a_col${p} + k * params.ld_a / 4u];
#else
    let a${p} = vec4f(a[a_col${4 * p} + k * params.ld_a], a[a_col${4 * p + 1} + k * params.ld_a], a[a_col${4 * p + 2} + k * params.ld_a], a[a_col${4 * p + 3} + k * params.ld_a]);
#end
#for e in 0..4
#for q in 0..TILE_N / 4
    c${4 * p + e}_${q} = fma(vec4f(a${p}[${e}]), b0_${q}, c${4 * p + e}_${q});
#end
#end
#end
#else
#for i in 0..TILE_M
#if VEC_A
    let a${i} = a[(a_row${i} + k) / 4u];
#else
    let a${i} = vec4f(a_at(a_row${i} + k, true), a_at(a_row${i} + k + 1u, k + 1u < params.k), a_at(a_row${i} + k + 2u, k + 2u < params.k), a_at(a_row${i} + k + 3u, k + 3u < params.k));
#end
#for e in 0..4
#for q in 0..TILE_N / 4
    c${i}_${q} = fma(vec4f(a${i}[${e}]), b${e}_${q}, c${i}_${q});
#end
#end
#end
#end
  }

#if LOW_RANK
#for i in 0..TILE_M
  let row_of${i} = row0 + ${i}u;
#end
#for q in 0..TILE_N / 4
  let col_of${q} = col0 + ${4 * q}u;
#end
#include "low_rank.wgsl"
#end
#for q in 0..TILE_N / 4
  let bias${q} = bias_of(col0 + ${4 * q}u, block);
#end
#for i in 0..TILE_M
#for q in 0..TILE_N / 4
  store(c${i}_${q}, bias${q}, row0 + ${i}u, col0 + ${4 * q}u, block);
#end
#end
}
