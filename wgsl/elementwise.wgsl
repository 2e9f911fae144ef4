// out[i] = f(x[i]) or f(x[i], y[i]) for `size` values of WIDTH floats (4 if the tensor's size is a multiple
// of 4, else 1). One invocation per value, grid folded by linearGrid.
// FUNCTION: 0 relu(x), 1 tanh(x), 2 gelu(x) = x·Φ(x); 3 x + y, 4 x·y; derivatives times the gradient y: 5
// relu, 6 tanh (both computed from the output x), 7 gelu (computed from the input x).
// IN_PLACE: out holds x (3 and 4 only).

#if WIDTH == 4
alias Value = vec4f;
#else
alias Value = f32;
#end

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<Value>;
#if !IN_PLACE
@group(0) @binding(2) var<storage, read> x: array<Value>;
#end
#if FUNCTION >= 3
@group(0) @binding(3) var<storage, read> y: array<Value>;
#end

#include "index.wgsl"

#include "gelu.wgsl"
#if FUNCTION < 2

#include "activation.wgsl"

fn activated(v: vec4f) -> vec4f {
#if FUNCTION == 0
  return relu(v);
#else
  return safe_tanh(v);
#end
}
#end

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) {
    return;
  }
#if IN_PLACE
  let v = out[i];
#else
  let v = x[i];
#end
#if FUNCTION < 2 && WIDTH == 4
  out[i] = activated(v);
#end
#if FUNCTION < 2 && WIDTH == 1
  out[i] = activated(vec4f(v)).x;
#end
#if FUNCTION == 2
  out[i] = gelu(v);
#end
#if FUNCTION == 3
  out[i] = v + y[i];
#end
#if FUNCTION == 4
  out[i] = v * y[i];
#end
#if FUNCTION == 5
  out[i] = select(Value(0.0), y[i], v > Value(0.0));
#end
#if FUNCTION == 6
  out[i] = y[i] * (1.0 - v * v);
#end
#if FUNCTION == 7
  out[i] = y[i] * gelu_slope(v);
#end
}
