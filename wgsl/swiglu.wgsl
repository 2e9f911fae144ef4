// SwiGLU (Shazeer 2020) for `size` values of WIDTH floats (4 if the tensor's size is a multiple of 4, else
// 1), with σ the logistic function:
// BACKWARD 0: out = gate σ(gate) ⊙ up
// BACKWARD 1: d_gate = dy ⊙ up ⊙ σ(gate) (1 + gate (1 − σ(gate))),  d_up = dy ⊙ gate σ(gate)
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

// Below −80, the value at −80 (2e-35) is used: exp would leave the range of f32, and WGSL guarantees no
// infinity.
fn logistic(v: Value) -> Value {
  return 1.0 / (1.0 + exp(-max(v, Value(-80.0))));
}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) {
    return;
  }
  let g = gate[i];
  let sigma = logistic(g);
#if BACKWARD
  d_gate[i] = dy[i] * up[i] * sigma * (1.0 + g * (1.0 - sigma));
  d_up[i] = dy[i] * g * sigma;
#else
  out[i] = g * sigma * up[i];
#end
}
