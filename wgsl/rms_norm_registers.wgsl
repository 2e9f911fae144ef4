// y[t] = γ ⊙ x[t] · s[t], s[t] = 1/√(mean_j x[t, j]² + ε), for x of rows×cols whose rows fit into registers: what rms_norm.wgsl
// computes, with each row read once; `scales` holds s
//
// One workgroup of WORKGROUP lanes per row, grid folded over rows. A lane holds QUADS vec4s of the row, WORKGROUP apart;
// cols counts vec4s, of which a lane's last need not exist: WORKGROUP · (QUADS − 1) < cols ≤ WORKGROUP · QUADS.
// BACKWARD 0: y and s as above. BACKWARD 1: dx from dy. With x̂ = s·x the normalised row and g = γ ⊙ dy,
//   dx = (g − x̂ · mean(g ⊙ x̂)) · s   [+ residual, if RESIDUAL is 1]
// Sums over lanes are trees: same bits every run.

struct Params {
  rows: u32,
  cols: u32,
#if !BACKWARD
  epsilon: f32,
#end
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> gamma: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4f>;
#if BACKWARD
@group(0) @binding(4) var<storage, read> scales: array<f32>;
@group(0) @binding(5) var<storage, read> dy: array<vec4f>;
#else
@group(0) @binding(4) var<storage, read_write> scales: array<f32>;
#end
#if RESIDUAL
@group(0) @binding(6) var<storage, read> residual: array<vec4f>;
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
  let count = f32(cols * 4u);
#if BACKWARD
  let scale = scales[row];
#end
#for i in 0..QUADS
#if i < QUADS - 1
  let j${i} = lane + ${i * WORKGROUP}u;
#else
  let is_there = lane + ${i * WORKGROUP}u < cols;
  let j${i} = min(lane + ${i * WORKGROUP}u, cols - 1u);
#end
#if BACKWARD
  let v${i} = x[base + j${i}] * scale;
  let g${i} = gamma[j${i}] * dy[base + j${i}];
  let term${i} = g${i} * v${i};
#else
  let v${i} = x[base + j${i}];
  let term${i} = v${i} * v${i};
#end
#end
  var sum = select(vec4f(0.0), term${QUADS - 1}, is_there);
#for i in 0..QUADS - 1
  sum += term${i};
#end
  let mean = workgroup_sum(dot(sum, vec4f(1.0)), lane) / count;
#if !BACKWARD
  let scale = inverseSqrt(mean + params.epsilon);
  if (lane == 0u) {
    scales[row] = scale;
  }
#end
#for i in 0..QUADS
#if i == QUADS - 1
  if (!is_there) {
    return;
  }
#end
#if BACKWARD
#if RESIDUAL
  out[base + j${i}] = (g${i} - v${i} * mean) * scale + residual[base + j${i}];
#else
  out[base + j${i}] = (g${i} - v${i} * mean) * scale;
#end
#else
  out[base + j${i}] = gamma[j${i}] * v${i} * scale;
#end
#end
}
