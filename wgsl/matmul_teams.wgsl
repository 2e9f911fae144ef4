// C[z] = activation(scale · op(A[z]) · B[z] + bias) + residual, for z = 0 … blocks − 1, where C has few rows: lanes lie
// along the columns, and teams of them share k
//
// The product of matmul.wgsl without Bᵀ for GPUs: an adapter's dA = dUᵀ x and, transposed, dB (TRANS_A), and the gradient
// by a few rows, dx = G W. So small an output has too few places for the lanes of a GPU, and B is all there is to read.
//
// Tiling: the columns of all blocks form quads, a quad a lane, 64 lanes a team, so narrow blocks leave no lanes idle. A
// workgroup has TEAMS teams, and owns TILE_M rows and one of num_workgroups.y parts of k, each a multiple of 16 long.
// Team t takes each TEAMS-th run of K_STEP values of k; the teams' sums are added by way of workgroup memory, in
// order of the teams.
// B is read as vec4, and n a multiple of 4. VEC_A 1: A is read as vec4, along k with K_STEP 4, or with TRANS_A along
// rows, of which TILE_M is a multiple of 4. VEC_A 0: float by float, and K_STEP is 1.
// PARTS 1: the sums of each part go to c, which holds parts × m × (blocks·n); matmul_sum.wgsl adds them up. PARTS 0: there
// is one part, and c is C.
// Grid: x over quads of columns, y over parts of k, z over rows. Accumulation is in f32, in an order that depends on the
// shape only: the same bits every run, and others than those of matmul.wgsl.
// include/matmul.wgsl defines the bindings and RESIDUAL, BIAS, ACTIVATION, GELU, SLOPE and load_b.

#include "matmul.wgsl"

var<workgroup> sums: array<array<array<vec4f, 64>, 4>, ${TEAMS}>;

@compute @workgroup_size(${64 * TEAMS}, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let lane = min(index % 64u, 63u);
  let team = min(index / 64u, ${TEAMS - 1}u);
  let quads = params.n / 4u;
  let all_quads = quads * params.blocks;
  let quad = group.x * 64u + lane;
  let block = min(quad, all_quads - 1u) / quads;
  let col = (min(quad, all_quads - 1u) - block * quads) * 4u;
  let row0 = group.z * ${TILE_M}u;
  let a0 = params.start_a + block * params.stride_a;
  let part = ((params.k + groups.y - 1u) / groups.y + 15u) / 16u * 16u;
  let k_end = min((group.y + 1u) * part, params.k);
  let b_step = params.ld_b / 4u;
  let b_col = (params.start_b + block * params.stride_b + col) / 4u;
#if TRANS_A
  let a_step = params.ld_a / ${1 + 3 * VEC_A}u;
#if VEC_A
#for l in 0..TILE_M / 4
  let a_col${l} = (a0 + min(row0 + ${4 * l}u, params.m - 4u)) / 4u;
#end
#else
#for i in 0..TILE_M
  let a_col${i} = a0 + min(row0 + ${i}u, params.m - 1u);
#end
#end
#else
#for i in 0..TILE_M
  let a_row${i} = (a0 + min(row0 + ${i}u, params.m - 1u) * params.ld_a) / ${1 + 3 * VEC_A}u;
#end
#end
#for i in 0..TILE_M
  var c${i} = vec4f(0.0);
#end

  let k_start = group.y * part + team * ${K_STEP}u;
  var b_at = b_col + k_start * b_step;
#if TRANS_A
  var a_at = k_start * a_step;
#end
  for (var k = k_start; k < k_end; k += ${TEAMS * K_STEP}u) {
#for e in 0..K_STEP
    let b${e} = load_b(b_at + ${e}u * b_step);
#end
    b_at += ${TEAMS * K_STEP}u * b_step;
#if TRANS_A
#if VEC_A
#for l in 0..TILE_M / 4
    let a${l} = a[a_col${l} + a_at];
#end
#for i in 0..TILE_M
    c${i} = fma(vec4f(a${i / 4}[${i % 4}]), b0, c${i});
#end
#else
#for i in 0..TILE_M
    c${i} = fma(vec4f(a[a_col${i} + a_at]), b0, c${i});
#end
#end
    a_at += ${TEAMS}u * a_step;
#else
#for i in 0..TILE_M
#if VEC_A
    let a${i} = a[a_row${i} + k / 4u];
#for e in 0..4
    c${i} = fma(vec4f(a${i}[${e}]), b${e}, c${i});
#end
#else
    c${i} = fma(vec4f(a[a_row${i} + k]), b0, c${i});
#end
#end
#end
  }

  // Four rows at a time: team t adds up row t.
#for l in 0..(TILE_M + 3) / 4
  workgroupBarrier();
#for i in 4 * l..TILE_M
#if i < 4 * l + 4
  sums[team][${i % 4}][lane] = c${i};
#end
#end
  workgroupBarrier();
  if (${4 * l}u + team < ${TILE_M}u && quad < all_quads) {
    var sum = sums[0][team][lane];
#for t in 1..TEAMS
    sum += sums[${t}][team][lane];
#end
    let row = row0 + ${4 * l}u + team;
#if PARTS
    if (row < params.m) {
      c[(group.y * params.m + row) * all_quads + quad] = sum;
    }
#else
    store(sum, bias_of(col, block), row, col, block);
#end
  }
#end
}
