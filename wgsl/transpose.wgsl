// out[t, j, i] = x[t, i, j] for x of rows×p×q floats: swap_axes.wgsl for GPUs, where neither what is read nor what is
// written may lie apart for neighbouring lanes.
//
// Tiling: a workgroup of 32×8 turns a tile of 32×32 by way of workgroup memory, which it fills along q and empties along p,
// 8 rows at a time. A row of the tile is padded by one value, so that a column lies in 32 banks.
// Grid: x over tiles along q, y along p, z over rows.

struct Params {
  p: u32,
  q: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

var<workgroup> tile: array<array<f32, 33>, 32>;

@compute @workgroup_size(32, 8, 1)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let p = params.p;
  let q = params.q;
  let lane = min(local.x, 31u);
  let base = group.z * p * q;
  let read_row = group.y * 32u + local.y;
  let read_col = group.x * 32u + lane;
#for s in 0..4
  if (read_row + ${8 * s}u < p && read_col < q) {
    tile[min(local.y + ${8 * s}u, 31u)][lane] = x[base + (read_row + ${8 * s}u) * q + read_col];
  }
#end
  workgroupBarrier();
  let row = group.x * 32u + local.y;
  let col = group.y * 32u + lane;
#for s in 0..4
  if (row + ${8 * s}u < q && col < p) {
    out[base + (row + ${8 * s}u) * p + col] = tile[lane][min(local.y + ${8 * s}u, 31u)];
  }
#end
}
