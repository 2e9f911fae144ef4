// BoRA's mixing of block projections by its diagonals, Σ of b×b×r (output block, input block, rank), U and V of T×b×r:
// PASS 0: V[t, j, c] = Σ_k Σ[j, k, c] U[t, k, c]       an invocation a (j, c) and TOKENS tokens
// PASS 1: dU[t, k, c] = Σ_j Σ[j, k, c] dV[t, j, c]     likewise
// PASS 2: dΣ[j, k, c] = Σ_t dV[t, j, c] U[t, k, c]     an invocation a (j, k, c), tokens in order
// c counts vectors of WIDTH floats (4 when r is a multiple of 4, else 1). `x` is U (0), dV (1); `y` is U in pass 2.

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

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  let b = params.blocks;
  let r = params.ranks;
  let c = i % r;
#if PASS == 2
  let k = i / r % b;
  let j = i / r / b;
  if (j >= b) {
    return;
  }
  var sum = Rank(0.0);
  for (var t = 0u; t < params.tokens; t++) {
    sum = fma(x[(t * b + j) * r + c], y[(t * b + k) * r + c], sum);
  }
  out[i] = sum;
#else
  let block = i / r % b;
  let token0 = i / r / b * ${TOKENS}u;
  if (token0 >= params.tokens) {
    return;
  }
  let last = params.tokens - 1u;
#for t in 0..TOKENS
  var sum${t} = Rank(0.0);
  let row${t} = min(token0 + ${t}u, last) * b * r + c;
#end
  for (var other = 0u; other < b; other++) {
#if PASS == 0
    let factor = diagonal[(block * b + other) * r + c];
#else
    let factor = diagonal[(other * b + block) * r + c];
#end
#for t in 0..TOKENS
    sum${t} = fma(factor, x[row${t} + other * r], sum${t});
#end
  }
#for t in 0..TOKENS
  if (token0 + ${t}u <= last) {
    out[row${t} + block * r] = sum${t};
  }
#end
#end
}
