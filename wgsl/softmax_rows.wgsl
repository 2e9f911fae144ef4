// Softmax over short rows (such as a router's experts), rows×cols. One invocation per row, grid folded by
// linearGrid.
// BACKWARD 0: out = softmax(x). BACKWARD 1: out = p ⊙ (g − ⟨g, p⟩), with p the softmax in `x` and g in
// `gradient`.

struct Params {
  rows: u32,
  cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
#if BACKWARD
@group(0) @binding(3) var<storage, read> gradient: array<f32>;
#end

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = linear_index(id, groups);
  if (row >= params.rows) {
    return;
  }
  let start = row * params.cols;
#if BACKWARD
  var inner = 0.0;
  for (var j = 0u; j < params.cols; j++) {
    inner = fma(x[start + j], gradient[start + j], inner);
  }
  for (var j = 0u; j < params.cols; j++) {
    out[start + j] = x[start + j] * (gradient[start + j] - inner);
  }
#else
  var top = x[start];
  for (var j = 1u; j < params.cols; j++) {
    top = max(top, x[start + j]);
  }
  var sum = 0.0;
  for (var j = 0u; j < params.cols; j++) {
    sum += exp(x[start + j] - top);
  }
  for (var j = 0u; j < params.cols; j++) {
    out[start + j] = exp(x[start + j] - top) / sum;
  }
#end
}
