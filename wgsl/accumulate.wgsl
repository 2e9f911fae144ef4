// sum ← (0 or sum) + g / count: gradients and loss of a step's micro-batches, averaged.
//
// micro holds (index, count) of the micro-batch; the first one overwrites. An invocation a float of the flat gradient
// buffer; invocation 0 adds the loss as well.

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> micro: array<u32>;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read> loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient_sum: array<f32>;
@group(0) @binding(5) var<storage, read_write> loss_sum: array<f32>;

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  let first = micro[0] == 0u;
  let share = 1.0 / f32(micro[1]);
  if (i == 0u) {
    loss_sum[0] = select(loss_sum[0], 0.0, first) + share * loss[0];
  }
  if (i < params.size) {
    gradient_sum[i] = select(gradient_sum[i], 0.0, first) + share * gradient[i];
  }
}
