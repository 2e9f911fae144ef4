// Features of two sentence vectors for a pair or choice head: [u, v, |u − v|, u ⊙ v] (Conneau et al. 2017).
// pooled is ((1 + options)·count)×width: the `count` anchors u first, then `options` rows v for each anchor.
// BACKWARD 0: out[(i, o)], of 4·width, from u = pooled[i] and v = pooled[count + i·options + o]; one
// invocation per element of the (count·options)×width grid.
// BACKWARD 1: the gradient of pooled; one invocation per element of it.

struct Params {
  size: u32,
  width: u32,
  count: u32,
  options: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> pooled: array<f32>;
#if BACKWARD
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
#end
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) {
    return;
  }
  let width = params.width;
  let row = i / width;
  let col = i % width;
#if BACKWARD
  if (row >= params.count) {
    let pair = row - params.count;
    let u = pooled[(pair / params.options) * width + col];
    let base = pair * 4u * width + col;
    let slope = sign(u - pooled[i]);
    out[i] = gradient[base + width] - slope * gradient[base + 2u * width] + u * gradient[base + 3u * width];
    return;
  }
  var sum = 0.0;
  for (var o = 0u; o < params.options; o++) {
    let pair = row * params.options + o;
    let v = pooled[(params.count + pair) * width + col];
    let base = pair * 4u * width + col;
    sum += gradient[base] + sign(pooled[i] - v) * gradient[base + 2u * width] + v * gradient[base + 3u * width];
  }
  out[i] = sum;
#else
  let u = pooled[(row / params.options) * width + col];
  let v = pooled[(params.count + row) * width + col];
  let base = row * 4u * width + col;
  out[base] = u;
  out[base + width] = v;
  out[base + 2u * width] = abs(u - v);
  out[base + 3u * width] = u * v;
#end
}
