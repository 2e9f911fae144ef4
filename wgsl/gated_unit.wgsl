// Gated units (Shazeer 2020) for `size` values of WIDTH floats (4 if the tensor's size is a multiple of 4, else 1).
// BACKWARD 0: out = a(gate) ⊙ up
// BACKWARD 1: d_gate = dy ⊙ up ⊙ a′(gate),  d_up = dy ⊙ a(gate)
// a: see include/gated.wgsl.
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

#include "gated.wgsl"

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
