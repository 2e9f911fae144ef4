// C[z] = activation(scale · A[z] · op(B[z]) + bias) + residual, for z = 0 … blocks − 1, where C has few rows or few
// columns: lanes share k
//
// The product of matmul.wgsl without Aᵀ for GPUs: a token or a few through a layer (few rows), an adapter's U = x Aᵀ and
// dV = G B (few columns). So small an output has too few places for the lanes of a GPU, and neighbouring lanes that read
// neighbouring words of a long row make whole cache lines. With LANES 1, a token through packed weights on software drivers,
// which spend their time in loads: the SHARE lanes of a subgroup load a run of A together and broadcast it.
//
// Tiling: a team of LANES invocations owns TILE_M×TILE_N of C; each lane sums the runs of QUADS·4 values of k that are
// LANES runs apart, and the lanes' sums are added by way of workgroup memory, in order of the lanes. A workgroup has
// TEAMS_M teams along the rows by TEAMS_N along the columns.
// RUN 1 and 2: a run of B is read at once, by its storage's parts b.run and b.integers: load_run0(i) is the i-th run, and
// the sum over its integers is multiplied by its scale; with 2, its start times the sum of A is added. RUN 0: A and B are
// read as vec4. k is a multiple of 4·QUADS. Without TRANS_B, QUADS is 1, and TILE_N and n multiples of 4.
// Rows and columns past the edge are clamped on load and not stored. C is written float by float.
// Grid: x over columns, y over rows, z over blocks. Accumulation is in f32, in an order that depends on the shape only:
// the same bits every run, and others than those of matmul.wgsl.
// include/matmul.wgsl defines the bindings and RESIDUAL, BIAS, ACTIVATION, GELU, SLOPE and load_b.

#include "matmul.wgsl"

#if RUN
#include "run.wgsl"

fn load_run0(i: u32) -> Run {
#include "b.run"
}

fn integers_of0(run: Run, p: u32) -> vec4f {
#include "b.integers"
}
#else
fn load_b0(i: u32) -> vec4f {
  return load_b(i);
}
#end

#if LANES > 1
var<workgroup> sums: array<array<array<f32, ${LANES + 1}>, ${TILE_M * TILE_N}>, ${TEAMS_M * TEAMS_N}>;
#end

@compute @workgroup_size(${LANES * TEAMS_M * TEAMS_N}, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
#if SHARE
  @builtin(subgroup_invocation_id) lane: u32,
#end
) {
#if !SHARE
  let lane = min(index % ${LANES}u, ${LANES}u);
#end
  let team = min(index / ${LANES}u, ${TEAMS_M * TEAMS_N - 1}u);
  let row0 = (group.y * ${TEAMS_M}u + team / ${TEAMS_N}u) * ${TILE_M}u;
  let col0 = (group.x * ${TEAMS_N}u + team % ${TEAMS_N}u) * ${TILE_N}u;
  let block = group.z;
  let a0 = params.start_a + block * params.stride_a;
  let b0 = params.start_b + block * params.stride_b;
  let runs = params.k / ${4 * QUADS}u;
  let columns = params.n;
  let lead = params.ld_a;
  let b_lead = params.ld_b;
#for P in 0..1
#include "lane_sums.wgsl"
#end

#if LANES == 1
#for j in 0..TILE_N
  let bias${j} = bias_of(col0 + ${j}u, block);
#for i in 0..TILE_M
  store(vec4f(s${i}_${j}), bias${j}, row0 + ${i}u, col0 + ${j}u, block);
#end
#end
#else
#for i in 0..TILE_M
#for j in 0..TILE_N
  sums[team][${i * TILE_N + j}][lane] = s${i}_${j};
#end
#end
  workgroupBarrier();
  for (var at = lane; at < ${TILE_M * TILE_N}u; at += ${LANES}u) {
    let own = min(at, ${TILE_M * TILE_N - 1}u);
    var sum = sums[team][own][0];
#for l in 1..LANES
    sum += sums[team][own][${l}];
#end
    let col = col0 + own % ${TILE_N}u;
    store(vec4f(sum), bias_of(col, block), row0 + own / ${TILE_N}u, col, block);
  }
#end
}
