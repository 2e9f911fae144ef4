// Root mean square normalisation (Zhang & Sennrich 2019) for x of rows×cols:
//   y[t] = γ ⊙ x[t] · s[t],  s[t] = 1/√(mean_j x[t, j]² + ε).  `scales` holds s.
// One workgroup of WORKGROUP invocations per row, grid folded over rows. An invocation loads WIDTH floats at
// once (4 if the row length is a multiple of 4, else 1); cols and all indices count these.
// BACKWARD 0: y and s as above. BACKWARD 1: dx from dy. With x̂ = s·x the normalised row and g = γ ⊙ dy,
//   dx = (g − x̂ · mean(g ⊙ x̂)) · s   [+ residual, if RESIDUAL is 1]

#if WIDTH == 4
alias Value = vec4f;
fn total(value: Value) -> f32 {
  return dot(value, vec4f(1.0));
}
#else
alias Value = f32;
fn total(value: Value) -> f32 {
  return value;
}
#end

struct Params {
  rows: u32,
  cols: u32,
#if !BACKWARD
  epsilon: f32,
#end
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Value>;
@group(0) @binding(2) var<storage, read> gamma: array<Value>;
@group(0) @binding(3) var<storage, read_write> out: array<Value>;
#if BACKWARD
@group(0) @binding(4) var<storage, read> scales: array<f32>;
@group(0) @binding(5) var<storage, read> dy: array<Value>;
#else
@group(0) @binding(4) var<storage, read_write> scales: array<f32>;
#end
#if RESIDUAL
@group(0) @binding(6) var<storage, read> residual: array<Value>;
#end

#include "workgroup_sum.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) {
    return;
  }
  let cols = params.cols;
  let base = row * cols;
  let count = f32(cols * ${WIDTH}u);

  var sum = Value(0.0);
#if BACKWARD
  let scale = scales[row];
  for (var j = lane; j < cols; j += ${WORKGROUP}u) {
    sum += gamma[j] * dy[base + j] * x[base + j] * scale;
  }
  let mean_gx = workgroup_sum(total(sum), lane) / count;
  for (var j = lane; j < cols; j += ${WORKGROUP}u) {
    var dx = (gamma[j] * dy[base + j] - x[base + j] * scale * mean_gx) * scale;
#if RESIDUAL
    dx += residual[base + j];
#end
    out[base + j] = dx;
  }
#else
  for (var j = lane; j < cols; j += ${WORKGROUP}u) {
    let value = x[base + j];
    sum += value * value;
  }
  let scale = inverseSqrt(workgroup_sum(total(sum), lane) / count + params.epsilon);
  for (var j = lane; j < cols; j += ${WORKGROUP}u) {
    out[base + j] = gamma[j] * x[base + j] * scale;
  }
  if (lane == 0u) {
    scales[row] = scale;
  }
#end
}
