// BoRA's mix on GPUs, by its diagonals Σ, b×b×r; U and V are T×b×r. dΣ is bora_mix_teams.wgsl's.
// PASS 0: V[t, j, c] = Σ_k Σ[j, k, c] U[t, k, c]       `x` is U
// PASS 1: dU[t, k, c] = Σ_j Σ[j, k, c] dV[t, j, c]     `x` is dV
// c counts vectors of WIDTH floats (4 if r is a multiple of 4, else 1), and so do `ranks` and all places in a row. TILE
// and STEP divide b.
//
// Tiling: an invocation owns TILE blocks, b / TILE apart, of TOKENS tokens at one c, and walks the blocks of the sum, STEP
// at a time, so that their loads are all under way before the first is waited for. Lanes lie along a row, so that
// neighbours read and write neighbouring vectors: ACROSS of them by DOWN in a workgroup.
// Grid: x over the vectors of a row that are an invocation's first, y over tokens. Sums are in order of the blocks, with
// the bits of bora_mix.wgsl.

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
@group(0) @binding(2) var<storage, read> diagonal: array<Rank>;
@group(0) @binding(3) var<storage, read_write> out: array<Rank>;

@compute @workgroup_size(${ACROSS}, ${DOWN}, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let tokens = params.tokens;
  let b = params.blocks;
  let r = params.ranks;
  let row = b * r;
  let span = row / ${TILE}u;
  let own = id.x;
  let token0 = id.y * ${TOKENS}u;
  if (own >= span || token0 >= tokens) {
    return;
  }
  let c = own % r;
#for t in 0..TOKENS
  var x_at${t} = min(token0 + ${t}u, tokens - 1u) * row + c;
#end
#if PASS == 0
  let step = r;
#for p in 0..TILE
  var factor_at${p} = (own - c + ${p}u * span) * b + c;
#end
#else
  let step = row;
#for p in 0..TILE
  var factor_at${p} = own + ${p}u * span;
#end
#end
#for p in 0..TILE
#for t in 0..TOKENS
  var sum${p}_${t} = Rank(0.0);
#end
#end

  for (var other = 0u; other < b; other += ${STEP}u) {
#for s in 0..STEP
#for p in 0..TILE
    let factor${p}_${s} = diagonal[factor_at${p} + ${s}u * step];
#end
#for t in 0..TOKENS
    let x${t}_${s} = x[x_at${t} + ${s}u * r];
#end
#end
#for s in 0..STEP
#for p in 0..TILE
#for t in 0..TOKENS
    sum${p}_${t} = fma(factor${p}_${s}, x${t}_${s}, sum${p}_${t});
#end
#end
#end
#for p in 0..TILE
    factor_at${p} += ${STEP}u * step;
#end
#for t in 0..TOKENS
    x_at${t} += ${STEP}u * r;
#end
  }

#for t in 0..TOKENS
  if (token0 + ${t}u < tokens) {
#for p in 0..TILE
    out[(token0 + ${t}u) * row + own + ${p}u * span] = sum${p}_${t};
#end
  }
#end
}
