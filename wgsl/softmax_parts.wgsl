// parts[i, p] = (top, sum) of part p of row i of the logits: the largest x, and Σ exp(x − top). A GPU's first stage of a
// softmax cross-entropy, which reads the logits once; cross_entropy.wgsl and vocabulary_loss.wgsl join the parts.
//
// logits are rows×classes, of which the first `there` of each row exist. A part is params.part quads of 4 classes, the last
// with what is left. A workgroup of WORKGROUP lanes owns a part, and its lanes go through the quads side by side, each with a
// running top and sum. WIDTH: floats of a load, 4 if classes is a multiple of 4, else 1.
// Grid: x over parts, y and z over rows. The order depends on the shape only: same bits every run.

struct Params {
  rows: u32,
  classes: u32,
  there: u32,
  part: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
#if WIDTH == 4
@group(0) @binding(1) var<storage, read> logits: array<vec4f>;
#else
@group(0) @binding(1) var<storage, read> logits: array<f32>;
#end
@group(0) @binding(2) var<storage, read_write> parts: array<vec2f>;

#include "softmax_sum.wgsl"

// The q-th quad of the row that starts at float `base`.
fn quad(base: u32, q: u32) -> vec4f {
#if WIDTH == 4
  return logits[base / 4u + q];
#else
  let at = base + 4u * q;
  return vec4f(logits[at], logits[at + 1u], logits[at + 2u], logits[at + 3u]);
#end
}

fn logit(at: u32) -> f32 {
#if WIDTH == 4
  return logits[at / 4u][at % 4u];
#else
  return logits[at];
#end
}

fn largest(x: vec4f) -> f32 {
  return max(max(x.x, x.y), max(x.z, x.w));
}

@compute @workgroup_size(${WORKGROUP})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y + group.z * groups.y;
  if (row >= params.rows) {
    return;
  }
  let base = row * params.classes;
  let whole = params.there / 4u;
  let end = min((group.x + 1u) * params.part, whole);
  var top = no_values.x;
  var sums = vec4f(0.0);
  var q = group.x * params.part + lane;
  // Four loads at a time are under way before the first is waited for.
  for (; q + ${3 * WORKGROUP}u < end; q += ${4 * WORKGROUP}u) {
#for e in 0..4
    let x${e} = quad(base, q + ${e * WORKGROUP}u);
#end
    let next = max(top, largest(max(max(x0, x1), max(x2, x3))));
    sums *= exp(top - next);
#for e in 0..4
    sums += exp(x${e} - next);
#end
    top = next;
  }
  for (; q < end; q += ${WORKGROUP}u) {
    let x = quad(base, q);
    let next = max(top, largest(x));
    sums = sums * exp(top - next) + exp(x - next);
    top = next;
  }
  var own = vec2f(top, dot(sums, vec4f(1.0)));
  if (group.x == groups.x - 1u && lane < params.there % 4u) {
    own = joined(own, vec2f(logit(base + 4u * whole + lane), 1.0));
  }
  let all = workgroup_joined(own, lane);
  if (lane == 0u) {
    parts[row * groups.x + group.x] = all;
  }
}
