// Each text's last real token. x: (batch·length)×width, lengths: batch.
// BACKWARD 0: out[b] = x[b, lengths[b] − 1].
// BACKWARD 1: out[b, l] = x[b] for l = lengths[b] − 1, else 0, x: batch×width.
// One invocation per element of out.

struct Params {
  size: u32,
  length: u32,
  width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> lengths: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) {
    return;
  }
  let row = i / params.width;
  let col = i % params.width;
#if BACKWARD
  let batch = row / params.length;
  out[i] = select(0.0, x[batch * params.width + col], row % params.length + 1u == lengths[batch]);
#else
  out[i] = x[(row * params.length + lengths[row] - 1u) * params.width + col];
#end
}
