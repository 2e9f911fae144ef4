// y[t] = γ ⊙ (x[t] − mean) / √(var + ε) + β over the last dimension of x, rows×cols.
// The variance takes two passes, in f32.
// One workgroup of WORKGROUP invocations per row, grid folded over rows. An invocation loads WIDTH floats at
// once (4 if the row length is a multiple of 4, else 1); cols and all indices count these.
// BACKWARD 0: y as above. BACKWARD 1: dx from dy. With x̂ the normalised row and g = γ ⊙ dy,
//   dx = (g − mean(g) − x̂ · mean(g ⊙ x̂)) / √(var + ε)   [+ residual, if RESIDUAL is 1]
// The mean and variance are computed again and not stored, since the row is read anyway.

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
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Value>;
@group(0) @binding(2) var<storage, read> gamma: array<Value>;
#if BACKWARD
@group(0) @binding(3) var<storage, read> dy: array<Value>;
#else
@group(0) @binding(3) var<storage, read> beta: array<Value>;
#end
@group(0) @binding(4) var<storage, read_write> out: array<Value>;
#if RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<Value>;
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
  for (var j = lane; j < cols; j += ${WORKGROUP}u) {
    sum += x[base + j];
  }
  let mean = workgroup_sum(total(sum), lane) / count;
  var squares = Value(0.0);
  for (var j = lane; j < cols; j += ${WORKGROUP}u) {
    let centred = x[base + j] - mean;
    squares += centred * centred;
  }
  let scale = inverseSqrt(workgroup_sum(total(squares), lane) / count + params.epsilon);

#if BACKWARD
  var sum_g = Value(0.0);
  var sum_gx = Value(0.0);
  for (var j = lane; j < cols; j += ${WORKGROUP}u) {
    let g = gamma[j] * dy[base + j];
    sum_g += g;
    sum_gx += g * (x[base + j] - mean) * scale;
  }
  let mean_g = workgroup_sum(total(sum_g), lane) / count;
  let mean_gx = workgroup_sum(total(sum_gx), lane) / count;
  for (var j = lane; j < cols; j += ${WORKGROUP}u) {
    let normal = (x[base + j] - mean) * scale;
    var dx = (gamma[j] * dy[base + j] - mean_g - normal * mean_gx) * scale;
#if RESIDUAL
    dx += residual[base + j];
#end
    out[base + j] = dx;
  }
#else
  for (var j = lane; j < cols; j += ${WORKGROUP}u) {
    out[base + j] = gamma[j] * (x[base + j] - mean) * scale + beta[j];
  }
#end
}
