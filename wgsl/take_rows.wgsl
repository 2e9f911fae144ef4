// Rows by index: out[i] = x[index[base + i] − shift], or 0 where x has no such row. x: rows×width, out: size/width rows.
// One invocation per element of out, grid folded by linearGrid.

struct Params {
  size: u32,
  width: u32,
  rows: u32,
  base: u32,
  shift: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) {
    return;
  }
  // Below `shift`, this is a number above `rows`.
  let row = index[params.base + i / params.width] - params.shift;
  var value = 0.0;
  if (row < params.rows) {
    value = x[row * params.width + i % params.width];
  }
  out[i] = value;
}
