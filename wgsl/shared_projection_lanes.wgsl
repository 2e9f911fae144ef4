// U_p[z] = X[z] · A_p[z]ᵀ, for p = 0 … PRODUCTS − 1 and z = 0 … blocks − 1: the projections of shared_projection.wgsl for
// GPUs, where lanes share k
//
// X is m×(blocks·k), A_p n×(blocks·k), U_p m×(blocks·n); all are row-major and cut into blocks of columns. k
// is a multiple of 4, and X and A_p are read as vec4 along it. n is an adapter's rank, a small number.
// Bindings: x, then a_p and u_p of each product (seven for three products).
//
// Tiling: a team of LANES invocations owns TILE_M×TILE_N of every U_p; each lane sums every LANES-th quad of k, and
// the lanes' sums are added by way of workgroup memory, in order of the lanes, one product after another. All products
// use each vec4 of X. A workgroup has TEAMS teams along the rows.
// Rows and columns past the edge are clamped on load and not stored.
// Grid: x over columns, y over rows, z over blocks. Accumulation is in f32, in the order of matmul_lanes.wgsl, with its
// bits.

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

var<workgroup> sums: array<array<array<f32, ${LANES + 1}>, ${TILE_M * TILE_N}>, ${TEAMS}>;

@compute @workgroup_size(${LANES * TEAMS}, 1, 1)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
  let lane = min(index % ${LANES}u, ${LANES}u);
  let team = min(index / ${LANES}u, ${TEAMS - 1}u);
  let row0 = (group.y * ${TEAMS}u + team) * ${TILE_M}u;
  let col0 = group.x * ${TILE_N}u;
  let block = group.z;
  let quads = params.k / 4u;
  let lead = params.blocks * quads;
#for i in 0..TILE_M
  let x_row${i} = min(row0 + ${i}u, params.m - 1u) * lead + block * quads;
#end
#for j in 0..TILE_N
  let a_row${j} = min(col0 + ${j}u, params.n - 1u) * lead + block * quads;
#end
#for p in 0..PRODUCTS
#for i in 0..TILE_M
#for j in 0..TILE_N
  var u${p}_${i}_${j} = 0.0;
#end
#end
#end

  for (var quad = lane; quad < quads; quad += ${LANES}u) {
#for i in 0..TILE_M
    let x${i} = x[x_row${i} + quad];
#end
#for p in 0..PRODUCTS
#for j in 0..TILE_N
    let a${p}_${j} = a${p}[a_row${j} + quad];
#for e in 0..4
#for i in 0..TILE_M
    u${p}_${i}_${j} = fma(x${i}[${e}], a${p}_${j}[${e}], u${p}_${i}_${j});
#end
#end
#end
#end
  }

#for p in 0..PRODUCTS
#if p > 0
  workgroupBarrier();
#end
#for i in 0..TILE_M
#for j in 0..TILE_N
  sums[team][${i * TILE_N + j}][lane] = u${p}_${i}_${j};
#end
#end
  workgroupBarrier();
  for (var at = lane; at < ${TILE_M * TILE_N}u; at += ${LANES}u) {
    let own = min(at, ${TILE_M * TILE_N - 1}u);
    var sum = sums[team][own][0];
#for l in 1..LANES
    sum += sums[team][own][${l}];
#end
    let row = row0 + own / ${TILE_N}u;
    let col = col0 + own % ${TILE_N}u;
    if (row < params.m && col < params.n) {
      u${p}[(row * params.blocks + block) * params.n + col] = sum;
    }
  }
#end
}
