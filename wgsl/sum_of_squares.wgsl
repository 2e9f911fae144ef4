// BACKWARD 0: out[0] = scale · Σ x²; one workgroup of WORKGROUP invocations, in a fixed order.
// BACKWARD 1: out = 2 · scale · x; one invocation per element, grid folded by linearGrid.

struct Params {
  size: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

#include "index.wgsl"
#include "workgroup_sum.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
#if BACKWARD
  let i = linear_index(id, groups);
  if (i < params.size) {
    out[i] = 2.0 * params.scale * x[i];
  }
#else
  var sum = 0.0;
  for (var i = lane; i < params.size; i += ${WORKGROUP}u) {
    sum = fma(x[i], x[i], sum);
  }
  let total = workgroup_sum(sum, lane);
  if (lane == 0u) {
    out[0] = params.scale * total;
  }
#end
}
