// Means of a step's gradients and loss over the examples of all its micro-batches. Each micro-batch gives its
// mean gradient g, its mean loss, and the weight w that these are means over.
// PASS 0, after each micro-batch: sum ← sum + w·g, weight_sum ← weight_sum + w. The first one, index[0] = 0,
// overwrites both sums.
// PASS 1, after the last: sum ← sum / weight_sum.
// One invocation per float of the flat gradient buffer. Invocation 0 also handles the loss and, in PASS 0,
// the weight.

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
#if PASS == 0
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read> loss: array<f32>;
@group(0) @binding(4) var<storage, read> weight: array<f32>;
@group(0) @binding(5) var<storage, read_write> gradient_sum: array<f32>;
@group(0) @binding(6) var<storage, read_write> loss_sum: array<f32>;
@group(0) @binding(7) var<storage, read_write> weight_sum: array<f32>;
#else
@group(0) @binding(1) var<storage, read_write> gradient_sum: array<f32>;
@group(0) @binding(2) var<storage, read_write> loss_sum: array<f32>;
@group(0) @binding(3) var<storage, read> weight_sum: array<f32>;
#end

#include "index.wgsl"

#if PASS == 0
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  let first = index[0] == 0u;
  if (i == 0u) {
    loss_sum[0] = select(loss_sum[0], 0.0, first) + weight[0] * loss[0];
    weight_sum[0] = select(weight_sum[0], 0.0, first) + weight[0];
  }
  if (i < params.size) {
    gradient_sum[i] = select(gradient_sum[i], 0.0, first) + weight[0] * gradient[i];
  }
}
#else
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i == 0u) {
    loss_sum[0] /= weight_sum[0];
  }
  if (i < params.size) {
    gradient_sum[i] /= weight_sum[0];
  }
}
#end
