// The mixing of bora_mix.wgsl, with loads shared between the lanes of a subgroup. For devices with one
// subgroup size that divides b, and r a multiple of 4. A software driver spends its time in loads, one float
// per lane.
// PASS 0: V[t, j, c] = Σ_k Σ[j, k, c] U[t, k, c]       `x` is U
// PASS 1: dU[t, k, c] = Σ_j Σ[j, k, c] dV[t, j, c]     `x` is dV
// PASS 2: dΣ[j, k, c] = Σ_t dV[t, j, c] U[t, k, c]     `x` is dV, `y` is U
// c counts vec4s of the rank.
//
// Tiling: a workgroup is one subgroup of SUBGROUP lanes, at one c. Each lane owns TILE blocks,
// SUBGROUP apart.
// PASS 0 and 1: the subgroup owns ROWS·SUBGROUP tokens and walks the blocks of the sum. Each lane loads the
// vec4s of ROWS tokens from `x` and broadcasts them.
// PASS 2: the subgroup owns SUBGROUP blocks j and walks the tokens. Each lane loads the vec4 of one block
// from `x` and broadcasts it.
// Grid folded by linearGrid. Sums run in order: same bits every run.

struct Params {
  tokens: u32,
  blocks: u32,
  ranks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
#if PASS == 2
@group(0) @binding(2) var<storage, read> y: array<vec4f>;
#else
@group(0) @binding(2) var<storage, read> diagonal: array<vec4f>;
#end
@group(0) @binding(3) var<storage, read_write> out: array<vec4f>;

@compute @workgroup_size(${SUBGROUP})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let b = params.blocks;
  let r = params.ranks;
  let tiles = b / ${SUBGROUP * TILE}u;
  let which = group.x + group.y * groups.x;
  let c = which % r;
  let own = which / r % tiles * ${SUBGROUP * TILE}u + lane;
#if PASS == 2
  let j0 = which / r / tiles * ${SUBGROUP}u;
  if (j0 >= b) {
    return;
  }
#for l in 0..SUBGROUP
#for q in 0..TILE
  var sum${l}_${q} = vec4f(0.0);
#end
#end
  for (var t = 0u; t < params.tokens; t++) {
    let own_x = x[(t * b + j0 + lane) * r + c];
#for q in 0..TILE
    let y${q} = y[(t * b + own + ${q * SUBGROUP}u) * r + c];
#end
#for l in 0..SUBGROUP
    let x${l} = subgroupBroadcast(own_x, ${l}u);
#for q in 0..TILE
    sum${l}_${q} = fma(x${l}, y${q}, sum${l}_${q});
#end
#end
  }
#for l in 0..SUBGROUP
#for q in 0..TILE
  out[((j0 + ${l}u) * b + own + ${q * SUBGROUP}u) * r + c] = sum${l}_${q};
#end
#end
#else
  let token0 = which / r / tiles * ${ROWS * SUBGROUP}u;
  if (token0 >= params.tokens) {
    return;
  }
  let last = params.tokens - 1u;
#for p in 0..ROWS
  let row${p} = min(token0 + ${p * SUBGROUP}u + lane, last) * b * r + c;
#end
#for t in 0..ROWS * SUBGROUP
#for q in 0..TILE
  var sum${t}_${q} = vec4f(0.0);
#end
#end
  for (var other = 0u; other < b; other++) {
#for q in 0..TILE
#if PASS == 0
    let factor${q} = diagonal[((own + ${q * SUBGROUP}u) * b + other) * r + c];
#else
    let factor${q} = diagonal[(other * b + own + ${q * SUBGROUP}u) * r + c];
#end
#end
#for p in 0..ROWS
    let own_x${p} = x[row${p} + other * r];
#for l in 0..SUBGROUP
    let x${p * SUBGROUP + l} = subgroupBroadcast(own_x${p}, ${l}u);
#for q in 0..TILE
    sum${p * SUBGROUP + l}_${q} = fma(factor${q}, x${p * SUBGROUP + l}, sum${p * SUBGROUP + l}_${q});
#end
#end
#end
  }
#for t in 0..ROWS * SUBGROUP
  if (token0 + ${t}u <= last) {
#for q in 0..TILE
    out[((token0 + ${t}u) * b + own + ${q * SUBGROUP}u) * r + c] = sum${t}_${q};
#end
  }
#end
#end
}
