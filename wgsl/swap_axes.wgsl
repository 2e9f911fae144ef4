// out[t, j, i, c] = x[t, i, j, c] for x of rows×p×q×width, in all `size` values of WIDTH floats (4 if the
// last extent is a multiple of 4, else 1). One invocation per value of out, grid folded by linearGrid.
// COPY: out = x unchanged (a reshape that cannot take over its input's buffer).

#if WIDTH == 4
alias Value = vec4f;
#else
alias Value = f32;
#end

struct Params {
  size: u32,
  p: u32,
  q: u32,
  width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Value>;
@group(0) @binding(2) var<storage, read_write> out: array<Value>;

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let index = linear_index(id, groups);
  if (index >= params.size) {
    return;
  }
#if COPY
  out[index] = x[index];
#else
  let c = index % params.width;
  let i = index / params.width % params.p;
  let j = index / params.width / params.p % params.q;
  let t = index / params.width / params.p / params.q;
  out[index] = x[((t * params.p + i) * params.q + j) * params.width + c];
#end
}
