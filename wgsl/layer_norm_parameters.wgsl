// dγ[j] = Σ_t dy[t, j] · x̂[t, j] and dβ[j] = Σ_t dy[t, j] for x of rows×cols.
// First launch (STATISTICS 1), one workgroup per row: writes the row's mean and 1/√(var + ε) to `statistics`
// (rows×2).
// Second launch, one workgroup of WORKGROUP invocations per column: the invocations share the rows and add up
// in a tree, in the same order every run.

struct Params {
  rows: u32,
  cols: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
#if STATISTICS
@group(0) @binding(2) var<storage, read_write> statistics: array<f32>;
#else
@group(0) @binding(2) var<storage, read> statistics: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> d_gamma: array<f32>;
@group(0) @binding(5) var<storage, read_write> d_beta: array<f32>;
#end

#include "workgroup_sum.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let which = group.x + group.y * groups.x;
  let cols = params.cols;
#if STATISTICS
  if (which >= params.rows) {
    return;
  }
  var sum = 0.0;
  for (var j = lane; j < cols; j += ${WORKGROUP}u) {
    sum += x[which * cols + j];
  }
  let mean = workgroup_sum(sum, lane) / f32(cols);
  var squares = 0.0;
  for (var j = lane; j < cols; j += ${WORKGROUP}u) {
    let centred = x[which * cols + j] - mean;
    squares += centred * centred;
  }
  let variance = workgroup_sum(squares, lane) / f32(cols);
  if (lane == 0u) {
    statistics[2u * which] = mean;
    statistics[2u * which + 1u] = inverseSqrt(variance + params.epsilon);
  }
#else
  if (which >= cols) {
    return;
  }
  var sum_g = 0.0;
  var sum_b = 0.0;
  for (var row = lane; row < params.rows; row += ${WORKGROUP}u) {
    let d = dy[row * cols + which];
    sum_g += d * (x[row * cols + which] - statistics[2u * row]) * statistics[2u * row + 1u];
    sum_b += d;
  }
  let total_g = workgroup_sum(sum_g, lane);
  let total_b = workgroup_sum(sum_b, lane);
  if (lane == 0u) {
    d_gamma[which] = total_g;
    d_beta[which] = total_b;
  }
#end
}
