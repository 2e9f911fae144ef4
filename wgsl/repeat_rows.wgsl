// out[i, j] = x[j] for a row x of `cols` floats and out of `size` floats. One invocation per element, grid
// folded by linearGrid.

struct Params {
  size: u32,
  cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i < params.size) {
    out[i] = x[i % params.cols];
  }
}
