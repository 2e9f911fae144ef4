// C_p = A · B_pᵀ + bias_p, for p = 0 … PRODUCTS − 1, where A has few rows: a token or a few through layers that read the same rows,
// such as those of queries, keys and values, in one launch. All matrices are row-major: A m×k, B_p columns_p×k in one storage.
// GATED 1: there are two products, the gate and what goes through it, and C_0 = a(A · B_0ᵀ + bias_0) ⊙ (A · B_1ᵀ + bias_1)
// alone is stored; a: see include/gated.wgsl.
//
// Tiling and SHARE: as in matmul_lanes.wgsl, whose bits these are. A team of LANES invocations owns TILE_M×TILE_N of a C; a workgroup has
// TEAMS teams along the columns. Those from first_p on have product p; with GATED, all have both.
// Grid: x over the columns of all products, y over rows.
// The storage supplies the parts bp.bindings, and bp.load or bp.run and bp.integers.

#if GATED
alias Value = f32;
#end

struct Params {
  m: u32,
  k: u32,
#for P in 0..PRODUCTS
  columns${P}: u32,
  first${P}: u32,
#end
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4f>;
#for P in 0..PRODUCTS
#include "b${P}.bindings"
#if BIAS
@group(0) @binding(${8 + P}) var<storage, read> bias${P}: array<f32>;
#end
#if !GATED || P == 0
@group(0) @binding(${5 + P}) var<storage, read_write> c${P}: array<f32>;
#end
#end

#if RUN
#include "run.wgsl"
#end

#if GATED
#include "gated.wgsl"
#end

#for P in 0..PRODUCTS
#if RUN
fn load_run${P}(i: u32) -> Run {
#include "b${P}.run"
}

fn integers_of${P}(run: Run, p: u32) -> vec4f {
#include "b${P}.integers"
}
#else
fn load_b${P}(i: u32) -> vec4f {
#include "b${P}.load"
}
#end
#end

#if LANES == 1
var<private> sums: array<f32, ${TILE_M * TILE_N * (1 + GATED)}>;
#else
var<workgroup> sums: array<array<array<f32, ${LANES + 1}>, ${TILE_M * TILE_N * (1 + GATED)}>, ${TEAMS}>;
#end

#for P in 0..PRODUCTS
fn sum${P}(row0: u32, col0: u32, team: u32, lane: u32) {
  let a0 = 0u;
  let b0 = 0u;
  let lead = params.k;
  let b_lead = params.k;
  let columns = params.columns${P};
  let runs = params.k / ${4 * QUADS}u;
#include "lane_sums.wgsl"

#for i in 0..TILE_M
#for j in 0..TILE_N
#if LANES == 1
  sums[${GATED * P * TILE_M * TILE_N + i * TILE_N + j}] = s${i}_${j};
#else
  sums[team][${GATED * P * TILE_M * TILE_N + i * TILE_N + j}][lane] = s${i}_${j};
#end
#end
#end
}

fn total${P}(team: u32, place: u32, col: u32) -> f32 {
  let own = min(place, ${TILE_M * TILE_N - 1}u) + ${GATED * P * TILE_M * TILE_N}u;
#if LANES == 1
  var sum = sums[own];
#else
  var sum = sums[team][own][0];
#end
#for l in 1..LANES
  sum += sums[team][own][${l}];
#end
#if BIAS
  sum += bias${P}[min(col, params.columns${P} - 1u)];
#end
  return sum;
}
#end

// Stores one of a team's places in C_P.
#for P in 0..PRODUCTS - GATED
fn store${P}(row0: u32, col0: u32, team: u32, place: u32) {
  let row = row0 + place / ${TILE_N}u;
  let col = col0 + place % ${TILE_N}u;
  if (row < params.m && col < params.columns${P}) {
#if GATED
    c0[row * params.columns0 + col] = activated(total0(team, place, col)).value * total1(team, place, col);
#else
    c${P}[row * params.columns${P} + col] = total${P}(team, place, col);
#end
  }
}

fn store_all${P}(row0: u32, col0: u32, team: u32, lane: u32) {
#if LANES == 1
#for place in 0..TILE_M * TILE_N
  store${P}(row0, col0, team, ${place}u);
#end
#else
  workgroupBarrier();
  for (var place = lane; place < ${TILE_M * TILE_N}u; place += ${LANES}u) {
    store${P}(row0, col0, team, place);
  }
#end
}
#end

@compute @workgroup_size(${LANES * TEAMS}, 1, 1)
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
  let team = min(index / ${LANES}u, ${TEAMS - 1}u);
  let row0 = group.y * ${TILE_M}u;
#if GATED
  let col0 = (group.x * ${TEAMS}u + team) * ${TILE_N}u;
  sum0(row0, col0, team, lane);
  sum1(row0, col0, team, lane);
  store_all0(row0, col0, team, lane);
#else
#for P in 0..PRODUCTS
#if P == PRODUCTS - 1
  if (group.x >= params.first${P}) {
#else
  if (group.x >= params.first${P} && group.x < params.first${P + 1}) {
#end
    let col0 = ((group.x - params.first${P}) * ${TEAMS}u + team) * ${TILE_N}u;
    sum${P}(row0, col0, team, lane);
    store_all${P}(row0, col0, team, lane);
  }
#end
#end
}
