// out[t, j] = x[t, j] · scale[j] (+ shift[j]) (+ residual[t, j]) for x of `size` floats in rows of `cols`.
// One invocation per element, grid folded by linearGrid. SHIFT and RESIDUAL say whether these terms are
// present.

struct Params {
  size: u32,
  cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
#if SHIFT
@group(0) @binding(4) var<storage, read> shift: array<f32>;
#end
#if RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<f32>;
#end

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) {
    return;
  }
  let col = i % params.cols;
  var value = x[i] * scale[col];
#if SHIFT
  value += shift[col];
#end
#if RESIDUAL
  value += residual[i];
#end
  out[i] = value;
}
