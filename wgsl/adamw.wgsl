// AdamW with decoupled decay (Loshchilov & Hutter 2019) over all trainable tensors at once: they lie in one flat
// buffer, each starting at a multiple of 64 floats, and so do gradients g and moments m, v.
//
// PASS 0: partial[w] = Σ g² over the CHUNK floats of workgroup w.
// PASS 1, one workgroup: norm = √Σ partial; ring[step mod ring_size] = (loss, norm); state[0] = the factor
//   that clips the norm to max_norm (1 if max_norm is 0), or −1 if the loss or the norm is not finite, now or
//   in an earlier step: state[1] is 1 from the first such step on.
// PASS 2, one invocation per WIDTH floats (1, or 4 on GPUs): m ← β₁m + (1−β₁)ĝ, v ← β₂v + (1−β₂)ĝ², ĝ = g·state[0]
//   w ← w − lr·(m/c₁ / (√(v/c₂) + ε) + decay·w),  c = 1 − βᵗ.  If state[0] is −1 nothing changes: from a step
//   with a NaN on, the weights stay as they were before it; the host sees the step in the ring and stops.
// `size` counts floats. schedule holds (lr, c₁, c₂) per step, groups_of holds (learning-rate factor, decay) per 64 floats.

struct Params {
  size: u32,
  partials: u32,
  ring_size: u32,
  beta1: f32,
  beta2: f32,
  epsilon: f32,
  max_norm: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
#if PASS == 0
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;
#end
#if PASS == 1
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read> loss: array<f32>;
@group(0) @binding(3) var<storage, read> clock: array<u32>;
@group(0) @binding(4) var<storage, read_write> state: array<f32>;
@group(0) @binding(5) var<storage, read_write> ring: array<f32>;
#end
#if PASS == 2
#if WIDTH == 4
@group(0) @binding(1) var<storage, read> gradient: array<vec4f>;
#else
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
#end
@group(0) @binding(2) var<storage, read> state: array<f32>;
@group(0) @binding(3) var<storage, read> clock: array<u32>;
@group(0) @binding(4) var<storage, read> schedule: array<f32>;
@group(0) @binding(5) var<storage, read> groups_of: array<vec2f>;
#if WIDTH == 4
@group(0) @binding(6) var<storage, read_write> weights: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> moment1: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> moment2: array<vec4f>;
#else
@group(0) @binding(6) var<storage, read_write> weights: array<f32>;
@group(0) @binding(7) var<storage, read_write> moment1: array<f32>;
@group(0) @binding(8) var<storage, read_write> moment2: array<f32>;
#end
#include "index.wgsl"
#else
#include "workgroup_sum.wgsl"
#end

#if PASS == 0
@compute @workgroup_size(${WORKGROUP})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let which = group.x + group.y * groups.x;
  if (which >= params.partials) {
    return;
  }
  let start = which * ${CHUNK}u;
  let end = min(start + ${CHUNK}u, params.size);
  var sum = 0.0;
  for (var i = start + lane; i < end; i += ${WORKGROUP}u) {
    sum += gradient[i] * gradient[i];
  }
  let total = workgroup_sum(sum, lane);
  if (lane == 0u) {
    partial[which] = total;
  }
}
#end

#if PASS == 1
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < params.partials; i += ${WORKGROUP}u) {
    sum += partial[i];
  }
  let squares = workgroup_sum(sum, lane);
  if (lane == 0u) {
    let norm = sqrt(squares);
    // Inf and NaN have all exponent bits set. A float comparison may be optimised as if neither existed.
    let finite = (bitcast<u32>(squares) & 0x7f800000u) != 0x7f800000u &&
      (bitcast<u32>(loss[0]) & 0x7f800000u) != 0x7f800000u;
    let moves = finite && state[1] == 0.0;
    let clip = select(1.0, min(1.0, params.max_norm / (norm + 1.0e-6)), params.max_norm > 0.0);
    state[0] = select(-1.0, clip, moves);
    state[1] = select(1.0, 0.0, moves);
    let slot = 2u * (clock[1] % params.ring_size);
    ring[slot] = loss[0];
    ring[slot + 1u] = norm;
  }
}
#end

#if PASS == 2
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  let clip = state[0];
#if WIDTH == 4
  if (i >= params.size / 4u || clip < 0.0) {
    return;
  }
  let at = 3u * clock[1];
  let group = groups_of[i / 16u];
#else
  if (i >= params.size || clip < 0.0) {
    return;
  }
  let at = 3u * clock[1];
  let group = groups_of[i / 64u];
#end
  let g = gradient[i] * clip;
  let m = params.beta1 * moment1[i] + (1.0 - params.beta1) * g;
  let v = params.beta2 * moment2[i] + (1.0 - params.beta2) * g * g;
  moment1[i] = m;
  moment2[i] = v;
  let update = (m / schedule[at + 1u]) / (sqrt(v / schedule[at + 2u]) + params.epsilon);
  weights[i] -= schedule[at] * group.x * (update + group.y * weights[i]);
}
#end
