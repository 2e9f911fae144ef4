// U_p[z] = X[z] · A_p[z]ᵀ, for p = 0 … PRODUCTS − 1 and z = 0 … blocks − 1: the projections of the adapters
// on a layer's queries, keys and values, in one kernel that reads X once
//
// X is m×(blocks·k), A_p n×(blocks·k), U_p m×(blocks·n); all are row-major and cut into blocks of columns. k
// is a multiple of 4, and X and A_p are read as vec4 along it. n is an adapter's rank, a small number.
// Bindings: x, then a_p and u_p of each product (seven for three products).
//
// Tiling: an invocation owns TILE_M rows of one column of every U_p in registers and walks k in steps of 4.
// All products use each vec4 of X.
// SUBGROUP 0: each invocation loads X itself; a workgroup is LANES columns by GROUPS row tiles.
// SUBGROUP > 0: a workgroup is one subgroup of SUBGROUP = LANES lanes, GROUPS is 1, and each lane loads
// TILE_M / SUBGROUP rows of X and broadcasts them.
// Rows and columns past the edge are clamped on load and not stored. No lane returns early, since broadcasts
// need all lanes.
// Grid: x over rows, y over columns, z over blocks. Accumulation is in f32, in order of k: same bits every
// run, and the bits of matmul.wgsl.

struct Params {
  m: u32,
  n: u32,
  k: u32,
  blocks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
#for p in 0..PRODUCTS
@group(0) @binding(${2 + 2 * p}) var<storage, read> a${p}: array<vec4f>;
@group(0) @binding(${3 + 2 * p}) var<storage, read_write> u${p}: array<f32>;
#end

@compute @workgroup_size(${LANES}, ${GROUPS}, 1)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u,
#if SUBGROUP
  @builtin(subgroup_invocation_id) lane: u32,
#end
) {
#if !SUBGROUP
  let lane = local.x;
#end
  let row0 = (group.x * ${GROUPS}u + local.y) * ${TILE_M}u;
  let col = group.y * ${LANES}u + lane;
  let block = group.z;
  let quads = params.k / 4u;
  let lead = params.blocks * quads;
#if SUBGROUP
#for s in 0..TILE_M / SUBGROUP
  var x_at${s} = min(row0 + ${s * SUBGROUP}u + lane, params.m - 1u) * lead + block * quads;
#end
#else
#for i in 0..TILE_M
  var x_at${i} = min(row0 + ${i}u, params.m - 1u) * lead + block * quads;
#end
#end
  var a_at = min(col, params.n - 1u) * lead + block * quads;
#for p in 0..PRODUCTS
#for i in 0..TILE_M
  var u${p}_${i} = 0.0;
#end
#end

  for (var quad = 0u; quad < quads; quad += 1u) {
#for p in 0..PRODUCTS
    let own_a${p} = a${p}[a_at];
#end
    a_at += 1u;
#if SUBGROUP
#for s in 0..TILE_M / SUBGROUP
    let own_x${s} = x[x_at${s}];
    x_at${s} += 1u;
#end
#end
#for i in 0..TILE_M
#if SUBGROUP
    let x${i} = subgroupBroadcast(own_x${i / SUBGROUP}, ${i % SUBGROUP}u);
#else
    let x${i} = x[x_at${i}];
    x_at${i} += 1u;
#end
#for e in 0..4
#for p in 0..PRODUCTS
    u${p}_${i} = fma(x${i}[${e}], own_a${p}[${e}], u${p}_${i});
#end
#end
#end
  }

  if (col < params.n) {
#for i in 0..TILE_M
    if (row0 + ${i}u < params.m) {
      let at = ((row0 + ${i}u) * params.blocks + block) * params.n + col;
#for p in 0..PRODUCTS
      u${p}[at] = u${p}_${i};
#end
    }
#end
  }
}
