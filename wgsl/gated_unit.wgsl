// Gated units (Shazeer 2020) for `size` values of WIDTH floats (4 if the tensor's size is a multiple of 4, else 1).
// BACKWARD 0: out = a(gate) ⊙ up
// BACKWARD 1: d_gate = dy ⊙ up ⊙ a′(gate),  d_up = dy ⊙ a(gate)
// TANH_GELU 0, SwiGLU: a(x) = x σ(x) with σ the logistic function, a′(x) = σ(x) (1 + x (1 − σ(x))).
// TANH_GELU 1, GeGLU: a(x) = ½x (1 + t), t = tanh u, u = √(2/π) (x + 0.044715 x³),
//   a′(x) = ½ (1 + t) + ½x (1 − t²) √(2/π) (1 + 0.134145 x²).
// One invocation per value, grid folded by linearGrid.

#if WIDTH == 4
alias Value = vec4f;
#else
alias Value = f32;
#end

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gate: array<Value>;
@group(0) @binding(2) var<storage, read> up: array<Value>;
#if BACKWARD
@group(0) @binding(3) var<storage, read> dy: array<Value>;
@group(0) @binding(4) var<storage, read_write> d_gate: array<Value>;
@group(0) @binding(5) var<storage, read_write> d_up: array<Value>;
#else
@group(0) @binding(3) var<storage, read_write> out: array<Value>;
#end

#include "index.wgsl"

struct Activated {
  value: Value,
  slope: Value,
}

#if TANH_GELU
// Beyond ±15, tanh is ±1 in f32, and a device's own may overflow.
fn activated(x: Value) -> Activated {
  let factor = 0.7978845608028654;
  let t = tanh(clamp(factor * (x + 0.044715 * x * x * x), Value(-15.0), Value(15.0)));
  let slope = 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * factor * (1.0 + 0.134145 * x * x);
  return Activated(0.5 * x * (1.0 + t), select(slope, 0.5 * (1.0 + t), t * t == Value(1.0)));
}
#else
// Below −80, the value at −80 (2e-35) is used: exp would leave the range of f32, and WGSL guarantees no
// infinity.
fn logistic(v: Value) -> Value {
  return 1.0 / (1.0 + exp(-max(v, Value(-80.0))));
}

fn activated(x: Value) -> Activated {
  let sigma = logistic(x);
  return Activated(x * sigma, sigma * (1.0 + x * (1.0 - sigma)));
}
#end

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) {
    return;
  }
  let a = activated(gate[i]);
#if BACKWARD
  d_gate[i] = dy[i] * up[i] * a.slope;
  d_up[i] = dy[i] * a.value;
#else
  out[i] = a.value * up[i];
#end
}
