// C_p[z] = G_p[z]ᵀ · X[z], for p = 0 … PRODUCTS − 1 and z = 0 … blocks − 1: dA_p = dU_pᵀ X of the adapters on
// a layer's queries, keys and values, in one kernel that reads X once
//
// G_p is T×(blocks·m), X T×(blocks·n), C_p m×(blocks·n); all are row-major, cut into blocks of columns, and
// read and written as vec4 along the rows. m, an adapter's rank, is a multiple of TILE_M, and n of 4. The sum
// runs over rows start to start + k of G_p and X; ADD 1 adds it to what C_p holds. Bindings: x, then g_p and
// c_p of each product (seven for three products).
//
// Tiling: an invocation owns TILE_M rows (4 or 8) and TILE_N columns (a multiple of 4) of every C_p in
// registers and walks the rows of X in steps of K_STEP. All products use each vec4 of X that it loads.
// SUBGROUP 0: each invocation loads G_p itself, and K_STEP is 1. Lanes run on from one block's columns to the
// next block's, LANES per workgroup. Grid: x over the columns of all blocks, y over row tiles.
// SUBGROUP > 0: a workgroup is one subgroup of SUBGROUP = LANES lanes. Each lane loads one vec4 of K_STEP
// rows of G_p and broadcasts it; K_STEP divides k, and K_STEP · TILE_M / 4 is at most SUBGROUP. Grid: x over
// columns, y over row tiles, z over blocks.
// Columns past the edge are clamped on load and not stored. No lane returns early, since broadcasts need all
// lanes. Accumulation is in f32, in order of the rows: same bits every run, and the bits of matmul.wgsl over
// the same rows.

struct Params {
  m: u32,
  n: u32,
  k: u32,
  blocks: u32,
  start: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
#for p in 0..PRODUCTS
@group(0) @binding(${2 + 2 * p}) var<storage, read> g${p}: array<vec4f>;
@group(0) @binding(${3 + 2 * p}) var<storage, read_write> c${p}: array<vec4f>;
#end

@compute @workgroup_size(${LANES}, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3u,
#if SUBGROUP
  @builtin(subgroup_invocation_id) lane: u32,
#else
  @builtin(global_invocation_id) id: vec3u,
#end
) {
#if SUBGROUP
  let block = group.z;
  let col0 = (group.x * ${LANES}u + lane) * ${TILE_N}u;
  let own_quad = lane % ${TILE_M / 4}u;
  let own_step = lane / ${TILE_M / 4}u % ${K_STEP}u;
#else
  let tiles = (params.n + ${TILE_N - 1}u) / ${TILE_N}u;
  let block = min(id.x / tiles, params.blocks - 1u);
  let col0 = (id.x - block * tiles) * ${TILE_N}u;
#end
  let row0 = group.y * ${TILE_M}u;
  let x_lead = params.blocks * params.n / 4u;
  let g_lead = params.blocks * params.m / 4u;
#for q in 0..TILE_N / 4
  var x_at${q} = params.start * x_lead + (block * params.n + min(col0 + ${4 * q}u, params.n - 4u)) / 4u;
#end
  var g_at = params.start * g_lead + (block * params.m + row0) / 4u;
#if SUBGROUP
  g_at += own_step * g_lead + own_quad;
#end
#for p in 0..PRODUCTS
#for i in 0..TILE_M
#for q in 0..TILE_N / 4
  var c${p}_${i}_${q} = vec4f(0.0);
#end
#end
#end

  for (var k = 0u; k < params.k; k += ${K_STEP}u) {
#if SUBGROUP
#for p in 0..PRODUCTS
    let own${p} = g${p}[g_at];
#end
#else
#for p in 0..PRODUCTS
#for l in 0..TILE_M / 4
    let g${p}_0_${l} = g${p}[g_at + ${l}u];
#end
#end
#end
    g_at += ${K_STEP}u * g_lead;
#for s in 0..K_STEP
#for q in 0..TILE_N / 4
    let x${s}_${q} = x[x_at${q}];
    x_at${q} += x_lead;
#end
#for p in 0..PRODUCTS
#for l in 0..TILE_M / 4
#if SUBGROUP
    let g${p}_${s}_${l} = subgroupBroadcast(own${p}, ${s * (TILE_M / 4) + l}u);
#end
#for e in 0..4
#for q in 0..TILE_N / 4
    c${p}_${4 * l + e}_${q} = fma(vec4f(g${p}_${s}_${l}[${e}]), x${s}_${q}, c${p}_${4 * l + e}_${q});
#end
#end
#end
#end
#end
  }

#for q in 0..TILE_N / 4
  if (col0 + ${4 * q}u < params.n) {
#for i in 0..TILE_M
    let at${i} = (row0 + ${i}u) * x_lead + (block * params.n + col0) / 4u + ${q}u;
#for p in 0..PRODUCTS
#if ADD
    c${p}[at${i}] += c${p}_${i}_${q};
#else
    c${p}[at${i}] = c${p}_${i}_${q};
#end
#end
#end
  }
#end
}
