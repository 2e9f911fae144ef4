// BoRA mixes the projections of the blocks by its diagonals Σ, b×b×r (output block, input block, rank); U and
// V are T×b×r. For software drivers; GPUs have bora_mix_strided.wgsl and bora_mix_teams.wgsl.
// PASS 0: V[t, j, c] = Σ_k Σ[j, k, c] U[t, k, c]       `x` is U
// PASS 1: dU[t, k, c] = Σ_j Σ[j, k, c] dV[t, j, c]     `x` is dV
// PASS 2: dΣ[j, k, c] = Σ_t dV[t, j, c] U[t, k, c]     `x` is dV, `y` is U
// c counts vectors of WIDTH floats (4 if r is a multiple of 4, else 1). TILE divides b.
//
// Tiling, PASS 0 and 1: an invocation owns TILE blocks of TOKENS tokens at one c and walks the blocks of the
// sum; grid folded by linearGrid.
// Tiling, PASS 2: a workgroup owns TILE×TILE diagonals at one c. Its invocations share the tokens: each sums
// its own in order, then their sums are added in order. Same bits every run.

#if WIDTH == 4
alias Rank = vec4f;
#else
alias Rank = f32;
#end

struct Params {
  tokens: u32,
  blocks: u32,
  ranks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Rank>;
#if PASS == 2
@group(0) @binding(2) var<storage, read> y: array<Rank>;
#else
@group(0) @binding(2) var<storage, read> diagonal: array<Rank>;
#end
@group(0) @binding(3) var<storage, read_write> out: array<Rank>;

#if PASS == 2
var<workgroup> partial: array<Rank, ${TILE * TILE * WORKGROUP}>;

@compute @workgroup_size(${WORKGROUP})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let b = params.blocks;
  let r = params.ranks;
  let tiles = b / ${TILE}u;
  let which = group.x + group.y * groups.x;
  let c = which % r;
  let k0 = which / r % tiles * ${TILE}u;
  let j0 = which / r / tiles * ${TILE}u;
  if (j0 >= b) {
    return;
  }
#for j in 0..TILE
#for k in 0..TILE
  var sum${j}_${k} = Rank(0.0);
#end
#end
  for (var t = lane; t < params.tokens; t += ${WORKGROUP}u) {
#for i in 0..TILE
    let x${i} = x[(t * b + j0 + ${i}u) * r + c];
    let y${i} = y[(t * b + k0 + ${i}u) * r + c];
#end
#for j in 0..TILE
#for k in 0..TILE
    sum${j}_${k} = fma(x${j}, y${k}, sum${j}_${k});
#end
#end
  }
#for j in 0..TILE
#for k in 0..TILE
  partial[${(j * TILE + k) * WORKGROUP}u + lane] = sum${j}_${k};
#end
#end
  workgroupBarrier();
  for (var i = lane; i < ${TILE * TILE}u; i += ${WORKGROUP}u) {
    var total = Rank(0.0);
    for (var other = 0u; other < ${WORKGROUP}u; other++) {
      total += partial[i * ${WORKGROUP}u + other];
    }
    out[((j0 + i / ${TILE}u) * b + k0 + i % ${TILE}u) * r + c] = total;
  }
}
#else
#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  let b = params.blocks;
  let r = params.ranks;
  let tiles = b / ${TILE}u;
  let c = i % r;
  let own = i / r % tiles * ${TILE}u;
  let token0 = i / r / tiles * ${TOKENS}u;
  if (token0 >= params.tokens) {
    return;
  }
  let last = params.tokens - 1u;
#for t in 0..TOKENS
  let row${t} = min(token0 + ${t}u, last) * b * r + c;
#for p in 0..TILE
  var sum${p}_${t} = Rank(0.0);
#end
#end
  for (var other = 0u; other < b; other++) {
#for p in 0..TILE
#if PASS == 0
    let factor${p} = diagonal[((own + ${p}u) * b + other) * r + c];
#else
    let factor${p} = diagonal[(other * b + own + ${p}u) * r + c];
#end
#end
#for t in 0..TOKENS
    let x${t} = x[row${t} + other * r];
#for p in 0..TILE
    sum${p}_${t} = fma(factor${p}, x${t}, sum${p}_${t});
#end
#end
  }
#for t in 0..TOKENS
  if (token0 + ${t}u <= last) {
#for p in 0..TILE
    out[row${t} + (own + ${p}u) * r] = sum${p}_${t};
#end
  }
#end
}
#end
