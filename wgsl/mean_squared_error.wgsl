// Weighted mean squared error: loss = Σ_i w_i (x_i − y_i)² / Σ_i w_i over `size` values.
// BACKWARD 0, one workgroup: loss and total = Σ w.
// BACKWARD 1, one invocation per value: dx_i = 2 w_i (x_i − y_i) / total.

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<f32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
#if BACKWARD
@group(0) @binding(4) var<storage, read> total: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) {
    return;
  }
  out[i] = 2.0 * weights[i] * (x[i] - targets[i]) / total[0];
}
#else
@group(0) @binding(4) var<storage, read_write> loss: array<f32>;
@group(0) @binding(5) var<storage, read_write> total: array<f32>;

#include "workgroup_sum.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  var weight = 0.0;
  for (var i = lane; i < params.size; i += ${WORKGROUP}u) {
    let error = x[i] - targets[i];
    sum += weights[i] * error * error;
    weight += weights[i];
  }
  let all = workgroup_sum(sum, lane);
  let all_weight = workgroup_sum(weight, lane);
  if (lane == 0u) {
    loss[0] = all / all_weight;
    total[0] = all_weight;
  }
}
#end
