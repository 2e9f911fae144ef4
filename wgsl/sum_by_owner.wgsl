// out[o] = Σ of values[i] with owners[i] = o, in order of i. values, owners: size, out: count.
// One invocation per element of out, grid folded by linearGrid.

struct Params {
  count: u32,
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read> owners: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let o = linear_index(id, groups);
  if (o >= params.count) {
    return;
  }
  var sum = 0.0;
  for (var i = 0u; i < params.size; i++) {
    sum += select(0.0, values[i], owners[i] == o);
  }
  out[o] = sum;
}
