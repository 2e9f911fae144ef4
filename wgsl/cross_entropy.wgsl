// Weighted softmax cross-entropy: loss = Σ_i w_i (lse_i − x[i, label_i]) / Σ_i w_i for logits x,
// rows×classes.
// PASS 0, one workgroup per row: lse[i] and row_loss[i] = w_i (lse_i − x[i, label_i]).
// PASS 1, one workgroup: loss and total = Σ w.
// PASS 2, one invocation per element: dx[i, c] = (exp(x[i, c] − lse_i) − [c = label_i]) w_i / total.
// PASS 3, one workgroup per row: as PASS 0, from what softmax_parts.wgsl found in `parts_of_row` parts of each row.
// Padding rows of a last batch have weight 0. Sums are trees: same bits every run.

struct Params {
  rows: u32,
  classes: u32,
#if PASS == 3
  parts_of_row: u32,
#end
}

@group(0) @binding(0) var<uniform> params: Params;
#if PASS == 0 || PASS == 3
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> lse: array<f32>;
@group(0) @binding(5) var<storage, read_write> row_loss: array<f32>;
#if PASS == 3
@group(0) @binding(6) var<storage, read> parts: array<vec2f>;
#end
#end
#if PASS == 1
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> row_loss: array<f32>;
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> total: array<f32>;
#end
#if PASS == 2
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> total: array<f32>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;
#include "index.wgsl"
#end
#if PASS == 3
#include "softmax_sum.wgsl"
#end
#if PASS <= 1
#include "workgroup_sum.wgsl"
#end

#if PASS == 0 || PASS == 3
#if PASS == 0
var<workgroup> tops: array<f32, ${WORKGROUP}>;
#end

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
  let base = row * params.classes;
#if PASS == 3
  var own = no_values;
  for (var p = lane; p < params.parts_of_row; p += ${WORKGROUP}u) {
    own = joined(own, parts[row * params.parts_of_row + p]);
  }
  let all = workgroup_joined(own, lane);
  let row_lse = all.x + log(all.y);
#else
  var own_top = logits[base];
  for (var c = lane; c < params.classes; c += ${WORKGROUP}u) {
    own_top = max(own_top, logits[base + c]);
  }
  tops[lane] = own_top;
  workgroupBarrier();
  // A maximum is not rounded, so any order gives the same bits.
  var top = tops[0];
  for (var i = 1u; i < ${WORKGROUP}u; i++) {
    top = max(top, tops[i]);
  }
  var sum = 0.0;
  for (var c = lane; c < params.classes; c += ${WORKGROUP}u) {
    sum += exp(logits[base + c] - top);
  }
  let row_lse = top + log(workgroup_sum(sum, lane));
#end
  if (lane == 0u) {
    lse[row] = row_lse;
    row_loss[row] = weights[row] * (row_lse - logits[base + labels[row]]);
  }
}
#end

#if PASS == 1
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  var weight = 0.0;
  for (var row = lane; row < params.rows; row += ${WORKGROUP}u) {
    sum += row_loss[row];
    weight += weights[row];
  }
  let all = workgroup_sum(sum, lane);
  let all_weight = workgroup_sum(weight, lane);
  if (lane == 0u) {
    loss[0] = all / all_weight;
    total[0] = all_weight;
  }
}
#end

#if PASS == 2
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.rows * params.classes) {
    return;
  }
  let row = i / params.classes;
  let hit = select(0.0, 1.0, i % params.classes == labels[row]);
  out[i] = (exp(logits[i] - lse[row]) - hit) * weights[row] / total[0];
}
#end
