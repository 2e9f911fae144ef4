// The gradient of BoRA's diagonals on GPUs, in parts: out[p, j, k, c] = Σ_t dV[t, j, c] U[t, k, c] over the tokens of part p,
// which are p · length to (p + 1) · length − 1. matmul_sum.wgsl adds up the parts.
//
// `x` is dV and `y` is U, T×b×r; `out` is parts×b×b×r. c counts vectors of WIDTH floats (4 if r is a multiple of 4, else 1),
// and so does `ranks`. TILE divides b.
//
// Tiling: a lane owns TILE×TILE diagonals at one c, their blocks b / TILE apart, so that neighbours read neighbouring
// vectors. A workgroup is TEAMS teams of LANES lanes: team t takes each TEAMS-th token of a part. The teams' sums are
// added by way of workgroup memory, a row of the tile at a time, in order of the teams. TILE is at most TEAMS.
// Grid: x over parts, y over places (j, k, c). The same bits every run.

#if WIDTH == 4
alias Rank = vec4f;
#else
alias Rank = f32;
#end

struct Params {
  tokens: u32,
  blocks: u32,
  ranks: u32,
  length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Rank>;
@group(0) @binding(2) var<storage, read> y: array<Rank>;
@group(0) @binding(3) var<storage, read_write> out: array<Rank>;

var<workgroup> sums: array<array<array<Rank, ${LANES}>, ${TILE}>, ${TEAMS}>;

@compute @workgroup_size(${LANES * TEAMS}, 1, 1)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
  let lane = min(index % ${LANES}u, ${LANES - 1}u);
  let team = min(index / ${LANES}u, ${TEAMS - 1}u);
  let b = params.blocks;
  let r = params.ranks;
  let row = b * r;
  let tiles = b / ${TILE}u;
  let places = tiles * tiles * r;
  let place = min(group.y * ${LANES}u + lane, places - 1u);
  let c = place % r;
  let k = place / r % tiles;
  let j = place / r / tiles;
  let span = tiles * r;
  let start = group.x * params.length + team;
  let end = min((group.x + 1u) * params.length, params.tokens);
#for p in 0..TILE
#for q in 0..TILE
  var sum${p}_${q} = Rank(0.0);
#end
#end

  var x_at = start * row + j * r + c;
  var y_at = start * row + k * r + c;
  for (var t = start; t < end; t += ${TEAMS}u) {
#for p in 0..TILE
    let x${p} = x[x_at + ${p}u * span];
    let y${p} = y[y_at + ${p}u * span];
#end
#for p in 0..TILE
#for q in 0..TILE
    sum${p}_${q} = fma(x${p}, y${q}, sum${p}_${q});
#end
#end
    x_at += ${TEAMS}u * row;
    y_at += ${TEAMS}u * row;
  }

  // A row of the tile at a time: team q adds up its column q.
  let column = min(team, ${TILE - 1}u);
  let owns = team < ${TILE}u && group.y * ${LANES}u + lane < places;
#for p in 0..TILE
#if p > 0
  workgroupBarrier();
#end
#for q in 0..TILE
  sums[team][${q}][lane] = sum${p}_${q};
#end
  workgroupBarrier();
  if (owns) {
    var sum = sums[0][column][lane];
#for m in 1..TEAMS
    sum += sums[${m}][column][lane];
#end
    out[((group.x * b + j + ${p}u * tiles) * b + k + column * tiles) * r + c] = sum;
  }
#end
}
