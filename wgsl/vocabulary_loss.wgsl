// The loss of next tokens over a vocabulary that is read in pieces. Row i has statistics s[i] = (top, sum, target): the highest
// logit so far, Σ exp(x − top), and the logit of its label. The piece's logits x are count×classes, those of the rows from
// `from` on and of the tokens from `first` on; tokens from `limit` on do not exist. labels and weights are of all rows.
// PASS 0, one workgroup per row of all: s after this piece. If STARTS is 1, the piece is the first of its rows. Other rows keep
//   what they have, in place, or taken over from `before` if BEFORE is 1.
// PASS 1, one workgroup: nll[i] = log sum + top − target, total = Σ w, loss = Σ w nll / total.
// PASS 2, one invocation per logit, in place: dx = (exp(x − top)/sum − [its token is the label]) w / total.
// PASS 3, one workgroup per row of all: as PASS 0, from what softmax_parts.wgsl found in `parts_of_row` parts of each row of
//   the piece.
// Sums are trees: same bits every run.

struct Params {
  rows: u32,
  count: u32,
  classes: u32,
  from_row: u32,
  first: u32,
  limit: u32,
#if PASS == 3
  parts_of_row: u32,
#end
}

@group(0) @binding(0) var<uniform> params: Params;
#if PASS == 0 || PASS == 3
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4f>;
#if BEFORE
@group(0) @binding(4) var<storage, read> before: array<vec4f>;
#end
#if PASS == 3
@group(0) @binding(5) var<storage, read> parts: array<vec2f>;
#end
#end
#if PASS == 1
@group(0) @binding(1) var<storage, read> statistics: array<vec4f>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> nll: array<f32>;
@group(0) @binding(5) var<storage, read_write> total: array<f32>;
#end
#if PASS == 2
@group(0) @binding(1) var<storage, read> statistics: array<vec4f>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read> total: array<f32>;
#if IN_PLACE
@group(0) @binding(5) var<storage, read_write> out: array<f32>;
#else
@group(0) @binding(5) var<storage, read> logits: array<f32>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;
#end
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
  let own = row - params.from_row;
  if (own >= params.count) {
#if BEFORE
    if (lane == 0u) {
      out[row] = before[row];
    }
#end
    return;
  }
#if STARTS
  let known = vec4f(-3.0e38, 0.0, 0.0, 0.0);
#else
#if BEFORE
  let known = before[row];
#else
  let known = out[row];
#end
#end
  let base = own * params.classes;
#if PASS == 3
  var of_lane = no_values;
  for (var p = lane; p < params.parts_of_row; p += ${WORKGROUP}u) {
    of_lane = joined(of_lane, parts[own * params.parts_of_row + p]);
  }
  let of_piece = workgroup_joined(of_lane, lane);
  let top = max(known.x, of_piece.x);
  let all = of_piece.y * exp(of_piece.x - top);
#else
  let classes = min(params.classes, max(params.limit, params.first) - params.first);
  var own_top = known.x;
  for (var c = lane; c < classes; c += ${WORKGROUP}u) {
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
  for (var c = lane; c < classes; c += ${WORKGROUP}u) {
    sum += exp(logits[base + c] - top);
  }
  let all = workgroup_sum(sum, lane);
#end
  if (lane == 0u) {
    var target_logit = known.z;
    let label = labels[row] - params.first;
    if (label < params.classes) {
      target_logit = logits[base + label];
    }
    out[row] = vec4f(top, known.y * exp(known.x - top) + all, target_logit, 0.0);
  }
}
#end

#if PASS == 1
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  var weight = 0.0;
  for (var row = lane; row < params.rows; row += ${WORKGROUP}u) {
    let s = statistics[row];
    let own = log(s.y) + s.x - s.z;
    nll[row] = own;
    sum += weights[row] * own;
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
  if (i >= params.count * params.classes) {
    return;
  }
  let row = params.from_row + i / params.classes;
  let token = params.first + i % params.classes;
  let s = statistics[row];
#if IN_PLACE
  let x = out[i];
#else
  let x = logits[i];
#end
  let hit = select(0.0, 1.0, token == labels[row]);
  out[i] = select(0.0, (exp(x - s.x) / s.y - hit) * weights[row] / total[0], token < params.limit);
}
#end
