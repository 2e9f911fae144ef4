// C[z] = activation(scale · op(A[z]) · op(B[z]) + bias) + residual, for z = 0 … blocks − 1, with tiles of A and B in
// workgroup memory
//
// The product of matmul.wgsl for GPUs, for operands that can be read as vec4. All invocations of a workgroup
// use each float that it loads (NVIDIA, CUDA C++ Programming Guide, "Shared Memory"; CUTLASS's threadblock
// tiles).
//
// Tiling: a workgroup of THREADS owns a TILE_M×TILE_N tile of C and walks k in steps of TILE_K. Each step
// stages its part of op(A) and op(B) in blocks of 4×4, transposed where needed so that the tile's rows or
// columns are contiguous: tile[k][quad of rows or columns]. An invocation owns PER_M×PER_N of C, in quads
// TILE_M / PER_M and TILE_N / PER_N quads apart, so that neighbours read neighbouring words. Rows and columns
// past the edge are clamped on load and not stored; past k the tile holds zeros.
// Grid: x over columns, y over rows, z over blocks. Accumulation is in f32, in order of k: the bits of
// matmul.wgsl.
// include/matmul.wgsl defines the bindings and RESIDUAL, BIAS, ACTIVATION, GELU, SLOPE, LOW_RANK and load_b.

#include "matmul.wgsl"

var<workgroup> a_tile: array<vec4f, ${TILE_K * TILE_M / 4}>;
var<workgroup> b_tile: array<vec4f, ${TILE_K * TILE_N / 4}>;

// Stages the i-th 4×4 block of op(A) for the tile at row0 and k0; `start` is where A[z] starts.
fn stage_a(i: u32, row0: u32, k0: u32, start: u32) {
#if TRANS_A
  let quad = i % ${TILE_M / 4}u;
  let k = i / ${TILE_M / 4}u * 4u;
  let at = start + min(row0 + quad * 4u, params.m - 4u);
#for e in 0..4
  let inside${e} = k0 + k + ${e}u < params.k;
  let along${e} = a[(at + select(0u, k0 + k + ${e}u, inside${e}) * params.ld_a) / 4u];
  a_tile[(k + ${e}u) * ${TILE_M / 4}u + quad] = select(vec4f(0.0), along${e}, inside${e});
#end
#else
  let quad = i / ${TILE_K / 4}u;
  let k = i % ${TILE_K / 4}u * 4u;
  let inside = k0 + k < params.k;
  let at = start + select(0u, k0 + k, inside);
#for e in 0..4
  let line${e} = min(row0 + quad * 4u + ${e}u, params.m - 1u);
  let along${e} = select(vec4f(0.0), a[(at + line${e} * params.ld_a) / 4u], inside);
#end
#for e in 0..4
  a_tile[(k + ${e}u) * ${TILE_M / 4}u + quad] = vec4f(along0[${e}], along1[${e}], along2[${e}], along3[${e}]);
#end
#end
}

// The same for op(B), for the tile at col0 and k0.
fn stage_b(i: u32, col0: u32, k0: u32, start: u32) {
#if TRANS_B
  let quad = i / ${TILE_K / 4}u;
  let k = i % ${TILE_K / 4}u * 4u;
  let inside = k0 + k < params.k;
  let at = start + select(0u, k0 + k, inside);
#for e in 0..4
  let line${e} = min(col0 + quad * 4u + ${e}u, params.n - 1u);
  let along${e} = select(vec4f(0.0), load_b((at + line${e} * params.ld_b) / 4u), inside);
#end
#for e in 0..4
  b_tile[(k + ${e}u) * ${TILE_N / 4}u + quad] = vec4f(along0[${e}], along1[${e}], along2[${e}], along3[${e}]);
#end
#else
  let quad = i % ${TILE_N / 4}u;
  let k = i / ${TILE_N / 4}u * 4u;
  let at = start + min(col0 + quad * 4u, params.n - 4u);
#for e in 0..4
  let inside${e} = k0 + k + ${e}u < params.k;
  let along${e} = load_b((at + select(0u, k0 + k + ${e}u, inside${e}) * params.ld_b) / 4u);
  b_tile[(k + ${e}u) * ${TILE_N / 4}u + quad] = select(vec4f(0.0), along${e}, inside${e});
#end
#end
}

@compute @workgroup_size(${THREADS}, 1, 1)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row0 = group.y * ${TILE_M}u;
  let col0 = group.x * ${TILE_N}u;
  let block = group.z;
  let a0 = params.start_a + block * params.stride_a;
  let b0 = params.start_b + block * params.stride_b;
  let row_quad = lane / ${TILE_N / PER_N}u;
  let col_quad = lane % ${TILE_N / PER_N}u;
#for i in 0..PER_M
#for q in 0..PER_N / 4
  var c${i}_${q} = vec4f(0.0);
#end
#end

  for (var k0 = 0u; k0 < params.k; k0 += ${TILE_K}u) {
    for (var i = lane; i < ${(TILE_M + TILE_N) * TILE_K / 16}u; i += ${THREADS}u) {
      if (i < ${TILE_M * TILE_K / 16}u) {
        stage_a(i, row0, k0, a0);
      } else {
        stage_b(i - ${TILE_M * TILE_K / 16}u, col0, k0, b0);
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < ${TILE_K}u; k += 4u) {
#for e in 0..4
#for p in 0..PER_M / 4
      let a${e}_${p} = a_tile[(k + ${e}u) * ${TILE_M / 4}u + ${p * (TILE_M / PER_M)}u + row_quad];
#end
#for q in 0..PER_N / 4
      let b${e}_${q} = b_tile[(k + ${e}u) * ${TILE_N / 4}u + ${q * (TILE_N / PER_N)}u + col_quad];
#end
#for i in 0..PER_M
#for q in 0..PER_N / 4
      c${i}_${q} = fma(vec4f(a${e}_${i / 4}[${i % 4}]), b${e}_${q}, c${i}_${q});
#end
#end
#end
    }
    workgroupBarrier();
  }

#for i in 0..PER_M
  let row_of${i} = row0 + (${i / 4 * (TILE_M / PER_M)}u + row_quad) * 4u + ${i % 4}u;
#end
#for q in 0..PER_N / 4
  let col_of${q} = col0 + (${q * (TILE_N / PER_N)}u + col_quad) * 4u;
#end
#if LOW_RANK
#include "low_rank.wgsl"
#end

#for q in 0..PER_N / 4
  let bias${q} = bias_of(col_of${q}, block);
#end
#for i in 0..PER_M
#for q in 0..PER_N / 4
  store(c${i}_${q}, bias${q}, row_of${i}, col_of${q}, block);
#end
#end
}
