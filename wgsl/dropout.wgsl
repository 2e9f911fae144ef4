// out[i] = x[i] / (1 − p) if the random word of (seed, step, stream, i) is at least p·2³², else 0. The
// backward pass applies the same kernel to the gradient and draws the same mask. One invocation per element.

struct Params {
  size: u32,
  stream: u32,
  threshold: u32,
  keep_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> seed_and_step: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

#include "index.wgsl"
#include "random.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) {
    return;
  }
  let bits = random_bits(seed_and_step[0], seed_and_step[1], params.stream, i);
  out[i] = select(0.0, x[i] * params.keep_scale, bits >= params.threshold);
}
