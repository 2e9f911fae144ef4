// C[z] = activation(scale · op(A[z]) · op(B[z]) + bias) + residual, for z = 0 … blocks − 1, with tiles of A and B in
// workgroup memory
//
// The product of matmul.wgsl for GPUs. All invocations of a workgroup use each float that it loads (NVIDIA,
// CUDA C++ Programming Guide, "Shared Memory"; CUTLASS's threadblock tiles).
//
// Tiling: a workgroup of THREADS owns a TILE_M×TILE_N tile of C and walks k in steps of TILE_K. Each step
// stages its part of op(A) and op(B) as tile[k][quad of rows or columns]. The indices of k are constants, so an
// invocation reads all of a step at constant offsets from two places. An operand that lies along k (B of NT, A
// of NT and NN) is turned on the way, a float at a time; its k is in two dimensions, k / 4 and k % 4, of which
// the latter is a constant then, and a quad of padding spreads these stores over the banks. A quad of it is an array, since
// four invocations write it: who writes a component of a vector may write all of the vector (WGSL, "Component Reference from
// Vector Memory View"), as Metal and Direct3D do. An invocation owns PER_M×PER_N of C, in quads TILE_M / PER_M and
// TILE_N / PER_N quads apart, so that neighbours read neighbouring words. Steps that k does not fill run in a loop of their own.
// Any m, n and k: rows and columns past the edge are clamped on load and not stored.
// The part "tiles" says what the tiles hold: Scalar and Quad, a vector of four, of f32 or f16. Sums are in f32.
// VEC_A, VEC_B, VEC_C: whether the operand is read or written as vec4; else float by float.
// PARTS 0. Grid: x over columns, y over rows, z over blocks. Accumulation is in f32, in order of k, then of the low-rank
// term's rank: the bits of matmul.wgsl.
// PARTS 1, for one block with too few tiles for a GPU: z over parts of k, each a multiple of TILE_K long. Their sums, the first with
// the low-rank term, go to c, which holds parts × m × n; matmul_sum.wgsl adds them up.
// include/matmul.wgsl defines the bindings and RESIDUAL, BIAS, ACTIVATION, GELU, SLOPE, LOW_RANK and load_b.

#include "matmul.wgsl"

#include "tiles"

alias Turned = array<Scalar, 4>;
fn from_turned(quad: Turned) -> vec4f { return vec4f(f32(quad[0]), f32(quad[1]), f32(quad[2]), f32(quad[3])); }

#if TRANS_A
var<workgroup> a_tile: array<array<Quad, ${TILE_M / 4 + 1}>, ${TILE_K}>;
fn a_from_tile(k: u32, quad: u32) -> vec4f { return vec4f(a_tile[k][quad]); }
#else
var<workgroup> a_tile: array<array<array<Turned, ${TILE_M / 4 + 1}>, 4>, ${TILE_K / 4}>;
fn a_from_tile(k: u32, quad: u32) -> vec4f { return from_turned(a_tile[k / 4u][k % 4u][quad]); }
#end
#if TRANS_B
var<workgroup> b_tile: array<array<array<Turned, ${TILE_N / 4 + 1}>, 4>, ${TILE_K / 4}>;
fn b_from_tile(k: u32, quad: u32) -> vec4f { return from_turned(b_tile[k / 4u][k % 4u][quad]); }
#else
var<workgroup> b_tile: array<array<Quad, ${TILE_N / 4 + 1}>, ${TILE_K}>;
fn b_from_tile(k: u32, quad: u32) -> vec4f { return vec4f(b_tile[k][quad]); }
#end

#if !VEC_A
// Four neighbours of A from `start + at` on; past `start + last`, the last.
fn four_of_a(start: u32, at: u32, last: u32) -> vec4f {
  return vec4f(a[start + min(at, last)], a[start + min(at + 1u, last)], a[start + min(at + 2u, last)], a[start + min(at + 3u, last)]);
}
#end
#if !VEC_B
fn four_of_b(start: u32, at: u32, last: u32) -> vec4f {
  return vec4f(b[start + min(at, last)], b[start + min(at + 1u, last)], b[start + min(at + 2u, last)], b[start + min(at + 3u, last)]);
}
#end

#if PARTS
fn store_part(sum: vec4f, part: u32, row: u32, col: u32) {
  if (row >= params.m || col >= params.n) {
    return;
  }
  let at = (part * params.m + row) * params.n + col;
#if VEC_C
  c[at / 4u] = sum;
#else
#for e in 0..4
  if (col + ${e}u < params.n) {
    c[at + ${e}u] = sum[${e}];
  }
#end
#end
}
#end

@compute @workgroup_size(${THREADS}, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row0 = group.y * ${TILE_M}u;
  let col0 = group.x * ${TILE_N}u;
#if PARTS
  let block = 0u;
  let part = ((params.k + groups.z - 1u) / groups.z + ${TILE_K - 1}u) / ${TILE_K}u * ${TILE_K}u;
  let k_start = group.z * part;
  let k_end = min(k_start + part, params.k);
#else
  let block = group.z;
  let k_start = 0u;
  let k_end = params.k;
#end
  let a0 = params.start_a + block * params.stride_a;
  let b0 = params.start_b + block * params.stride_b;
  // Places in the tiles are clamped to their arrays' ends here, which is the check that naga would make at each use.
  let row_quad = min(lane / ${TILE_N / PER_N}u, ${TILE_M / 4}u);
  let col_quad = min(lane % ${TILE_N / PER_N}u, ${TILE_N / 4}u);

  // What this invocation stages of op(A): where it goes, and where it comes from at k = 0.
#if !TRANS_A
  let a_to = min(lane % ${TILE_K / 4}u, ${TILE_K / 4 - 1}u);
  let a_row = lane / ${TILE_K / 4}u;
  let a_part = min(a_row % 4u, 3u);
#for p in 0..TILE_M * TILE_K / (4 * THREADS)
  let a_quad${p} = min(a_row / 4u + ${p * THREADS / TILE_K}u, ${TILE_M / 4}u);
  let a_start${p} = a0 + min(row0 + a_row + ${p * THREADS / TILE_K * 4}u, params.m - 1u) * params.ld_a;
  let a_at${p} = a_start${p} / 4u + a_to;
#end
#else
  let a_quad = min(lane % ${TILE_M / 4}u, ${TILE_M / 4}u);
#if VEC_A
  let a_step = params.ld_a / 4u;
  let a_col = (a0 + min(row0 + a_quad * 4u, params.m - 4u)) / 4u;
#end
#for p in 0..TILE_M * TILE_K / (4 * THREADS)
  let a_k${p} = min(lane / ${TILE_M / 4}u + ${p * THREADS / (TILE_M / 4)}u, ${TILE_K - 1}u);
#if VEC_A
  let a_at${p} = a_col + a_k${p} * a_step;
#end
#end
#end
  // The same of op(B).
#if TRANS_B
  let b_to = min(lane % ${TILE_K / 4}u, ${TILE_K / 4 - 1}u);
  let b_col = lane / ${TILE_K / 4}u;
  let b_part = min(b_col % 4u, 3u);
#for p in 0..TILE_N * TILE_K / (4 * THREADS)
  let b_quad${p} = min(b_col / 4u + ${p * THREADS / TILE_K}u, ${TILE_N / 4}u);
  let b_start${p} = b0 + min(col0 + b_col + ${p * THREADS / TILE_K * 4}u, params.n - 1u) * params.ld_b;
  let b_at${p} = b_start${p} / 4u + b_to;
#end
#else
  let b_quad = min(lane % ${TILE_N / 4}u, ${TILE_N / 4}u);
#if VEC_B
  let b_step = params.ld_b / 4u;
  let b_row = (b0 + min(col0 + b_quad * 4u, params.n - 4u)) / 4u;
#end
#for p in 0..TILE_N * TILE_K / (4 * THREADS)
  let b_k${p} = min(lane / ${TILE_N / 4}u + ${p * THREADS / (TILE_N / 4)}u, ${TILE_K - 1}u);
#if VEC_B
  let b_at${p} = b_row + b_k${p} * b_step;
#end
#end
#end
#for i in 0..PER_M
#for q in 0..PER_N / 4
  var c${i}_${q} = vec4f(0.0);
#end
#end

  // Full steps, then the rest of k, whose loads are clamped to the last k.
  var k0 = k_start;
#for REST in 0..2
#if REST
  if (k0 < k_end) {
#else
  for (; k0 + ${TILE_K}u <= k_end; k0 += ${TILE_K}u) {
#end
#for p in 0..TILE_M * TILE_K / (4 * THREADS)
#if TRANS_A
#if !VEC_A
    let a_new${p} = four_of_a(a0 + min(k0 + a_k${p}, k_end - 1u) * params.ld_a, row0 + a_quad * 4u, params.m - 1u);
#else
#if REST
    let a_new${p} = a[a_col + min(k0 + a_k${p}, k_end - 1u) * a_step];
#else
    let a_new${p} = a[a_at${p} + k0 * a_step];
#end
#end
#else
#if !VEC_A
    let a_new${p} = four_of_a(a_start${p}, k0 + a_to * 4u, k_end - 1u);
#else
#if REST
    let a_new${p} = a[a_start${p} / 4u + min(k0 / 4u + a_to, k_end / 4u - 1u)];
#else
    let a_new${p} = a[a_at${p} + k0 / 4u];
#end
#end
#end
#end
#for p in 0..TILE_N * TILE_K / (4 * THREADS)
#if TRANS_B
#if !VEC_B
    let b_new${p} = four_of_b(b_start${p}, k0 + b_to * 4u, k_end - 1u);
#else
#if REST
    let b_new${p} = load_b(b_start${p} / 4u + min(k0 / 4u + b_to, k_end / 4u - 1u));
#else
    let b_new${p} = load_b(b_at${p} + k0 / 4u);
#end
#end
#else
#if !VEC_B
    let b_new${p} = four_of_b(b0 + min(k0 + b_k${p}, k_end - 1u) * params.ld_b, col0 + b_quad * 4u, params.n - 1u);
#else
#if REST
    let b_new${p} = load_b(b_row + min(k0 + b_k${p}, k_end - 1u) * b_step);
#else
    let b_new${p} = load_b(b_at${p} + k0 * b_step);
#end
#end
#end
#end
#for p in 0..TILE_M * TILE_K / (4 * THREADS)
#if TRANS_A
    a_tile[a_k${p}][a_quad] = Quad(a_new${p});
#else
#for e in 0..4
    a_tile[a_to][${e}][a_quad${p}][a_part] = Scalar(a_new${p}[${e}]);
#end
#end
#end
#for p in 0..TILE_N * TILE_K / (4 * THREADS)
#if TRANS_B
#for e in 0..4
    b_tile[b_to][${e}][b_quad${p}][b_part] = Scalar(b_new${p}[${e}]);
#end
#else
    b_tile[b_k${p}][b_quad] = Quad(b_new${p});
#end
#end
    workgroupBarrier();
#if REST
    for (var k = 0u; k < k_end - k0; k += 1u) {
#for p in 0..PER_M / 4
      let a_${p} = a_from_tile(k, row_quad + ${p * (TILE_M / PER_M)}u);
#end
#for q in 0..PER_N / 4
      let b_${q} = b_from_tile(k, col_quad + ${q * (TILE_N / PER_N)}u);
#end
#for i in 0..PER_M
#for q in 0..PER_N / 4
      c${i}_${q} = fma(vec4f(a_${i / 4}[${i % 4}]), b_${q}, c${i}_${q});
#end
#end
    }
#else
#for k in 0..TILE_K
#for p in 0..PER_M / 4
#if TRANS_A
    let a${k}_${p} = vec4f(a_tile[${k}][row_quad + ${p * (TILE_M / PER_M)}u]);
#else
    let a${k}_${p} = from_turned(a_tile[${k / 4}][${k % 4}][row_quad + ${p * (TILE_M / PER_M)}u]);
#end
#end
#for q in 0..PER_N / 4
#if TRANS_B
    let b${k}_${q} = from_turned(b_tile[${k / 4}][${k % 4}][col_quad + ${q * (TILE_N / PER_N)}u]);
#else
    let b${k}_${q} = vec4f(b_tile[${k}][col_quad + ${q * (TILE_N / PER_N)}u]);
#end
#end
#for i in 0..PER_M
#for q in 0..PER_N / 4
    c${i}_${q} = fma(vec4f(a${k}_${i / 4}[${i % 4}]), b${k}_${q}, c${i}_${q});
#end
#end
#end
#end
    workgroupBarrier();
  }
#end

#for i in 0..PER_M
  let row_of${i} = row0 + (${i / 4 * (TILE_M / PER_M)}u + row_quad) * 4u + ${i % 4}u;
#end
#for q in 0..PER_N / 4
  let col_of${q} = col0 + (${q * (TILE_N / PER_N)}u + col_quad) * 4u;
#end
#if LOW_RANK && PARTS
  if (group.z == 0u) {
#include "low_rank_tiles.wgsl"
  }
#end
#if LOW_RANK && !PARTS
#include "low_rank_tiles.wgsl"
#end

#if PARTS
#for i in 0..PER_M
#for q in 0..PER_N / 4
  store_part(c${i}_${q}, group.z, row_of${i}, col_of${q});
#end
#end
#else
#for q in 0..PER_N / 4
  let bias${q} = bias_of(col_of${q}, block);
#end
#for i in 0..PER_M
#for q in 0..PER_N / 4
  store(c${i}_${q}, bias${q}, row_of${i}, col_of${q}, block);
#end
#end
#end
}
