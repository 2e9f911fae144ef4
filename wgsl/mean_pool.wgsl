// The mean over each text's real tokens, which come first. x: (batch·length)×width, pooled: batch×width.
// BACKWARD 0: pooled[b] = Σ_{l < lengths[b]} x[b, l] / lengths[b]; one invocation per element of pooled.
// BACKWARD 1: dx[b, l] = d_pooled[b] / lengths[b] for l < lengths[b], else 0; one invocation each.

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
  let count = lengths[batch];
  out[i] = select(0.0, x[batch * params.width + col] / f32(count), row % params.length < count);
#else
  let count = lengths[row];
  var sum = 0.0;
  for (var l = 0u; l < count; l++) {
    sum += x[(row * params.length + l) * params.width + col];
  }
  out[i] = sum / f32(count);
#end
}
