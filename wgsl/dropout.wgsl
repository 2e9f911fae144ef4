// out[i] = x[i] / (1 − p) if the random word of (seed, step, stream, i) is at least p·2³², else 0. The
// backward pass applies the same kernel to the gradient and draws the same mask. One invocation per WIDTH elements: 1, or 4
// for GPUs where the size is a multiple of 4. `size` counts elements.

struct Params {
  size: u32,
  stream: u32,
  threshold: u32,
  keep_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
#if WIDTH == 4
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> seed_and_step: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4f>;
#else
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> seed_and_step: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
#end

#include "index.wgsl"
#include "random.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
#if WIDTH == 4
  if (i >= params.size / 4u) {
    return;
  }
  let seed = seed_and_step[0];
  let step = seed_and_step[1];
#for e in 0..4
  let bits${e} = random_bits(seed, step, params.stream, 4u * i + ${e}u);
#end
  let bits = vec4u(bits0, bits1, bits2, bits3);
  out[i] = select(vec4f(0.0), x[i] * params.keep_scale, bits >= vec4u(params.threshold));
#else
  if (i >= params.size) {
    return;
  }
  let bits = random_bits(seed_and_step[0], seed_and_step[1], params.stream, i);
  out[i] = select(0.0, x[i] * params.keep_scale, bits >= params.threshold);
#end
}
