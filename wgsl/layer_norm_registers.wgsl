// y[t] = γ ⊙ (x[t] − mean) / √(var + ε) + β over the last dimension of x, rows×cols, for rows that fit into registers: what
// layer_norm.wgsl computes, with each row read once
//
// One workgroup of WORKGROUP lanes per row, grid folded over rows. A lane holds QUADS vec4s of the row, WORKGROUP apart;
// cols counts vec4s, of which a lane's last need not exist: WORKGROUP · (QUADS − 1) < cols ≤ WORKGROUP · QUADS.
// RESULT 0: y as above. RESULT 1: dx from dy. With x̂ the normalised row and g = γ ⊙ dy,
//   dx = (g − mean(g) − x̂ · mean(g ⊙ x̂)) / √(var + ε)   [+ residual, if RESIDUAL is 1]
// RESULT 2: the rows' means and 1/√(var + ε), rows×2, for column_teams.wgsl.
// The variance takes two passes, in f32; sums over lanes are trees: same bits every run.

struct Params {
  rows: u32,
  cols: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
#if RESULT == 2
@group(0) @binding(2) var<storage, read_write> statistics: array<vec2f>;
#else
@group(0) @binding(2) var<storage, read> gamma: array<vec4f>;
#if RESULT == 1
@group(0) @binding(3) var<storage, read> dy: array<vec4f>;
#else
@group(0) @binding(3) var<storage, read> beta: array<vec4f>;
#end
@group(0) @binding(4) var<storage, read_write> out: array<vec4f>;
#end
#if RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<vec4f>;
#end

#include "workgroup_sum.wgsl"

fn total(value: vec4f) -> f32 {
  return dot(value, vec4f(1.0));
}

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
#for i in 0..QUADS
#if i < QUADS - 1
  let j${i} = lane + ${i * WORKGROUP}u;
#else
  let is_there = lane + ${i * WORKGROUP}u < cols;
  let j${i} = min(lane + ${i * WORKGROUP}u, cols - 1u);
#end
  var v${i} = x[base + j${i}];
#if RESULT == 1
  var g${i} = gamma[j${i}] * dy[base + j${i}];
#end
#end

  var sum = select(vec4f(0.0), v${QUADS - 1}, is_there);
#for i in 0..QUADS - 1
  sum += v${i};
#end
  let mean = workgroup_sum(total(sum), lane) / count;
#for i in 0..QUADS
  v${i} -= mean;
#end
  var squares = select(vec4f(0.0), v${QUADS - 1} * v${QUADS - 1}, is_there);
#for i in 0..QUADS - 1
  squares = fma(v${i}, v${i}, squares);
#end
  let scale = inverseSqrt(workgroup_sum(total(squares), lane) / count + params.epsilon);

#if RESULT == 0
#for i in 0..QUADS
#if i == QUADS - 1
  if (!is_there) {
    return;
  }
#end
  out[base + j${i}] = gamma[j${i}] * v${i} * scale + beta[j${i}];
#end
#end
#if RESULT == 1
#for i in 0..QUADS
  v${i} *= scale;
#end
  g${QUADS - 1} = select(vec4f(0.0), g${QUADS - 1}, is_there);
  var sum_g = vec4f(0.0);
  var sum_gx = vec4f(0.0);
#for i in 0..QUADS
  sum_g += g${i};
  sum_gx = fma(g${i}, v${i}, sum_gx);
#end
  let mean_g = workgroup_sum(total(sum_g), lane) / count;
  let mean_gx = workgroup_sum(total(sum_gx), lane) / count;
#for i in 0..QUADS
#if i == QUADS - 1
  if (!is_there) {
    return;
  }
#end
#if RESIDUAL
  out[base + j${i}] = (g${i} - mean_g - v${i} * mean_gx) * scale + residual[base + j${i}];
#else
  out[base + j${i}] = (g${i} - mean_g - v${i} * mean_gx) * scale;
#end
#end
#end
#if RESULT == 2
  if (lane == 0u) {
    statistics[row] = vec2f(mean, scale);
  }
#end
}
