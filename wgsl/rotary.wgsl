// Rotary position embedding (Su et al. 2021) in Hugging Face's half-split convention: in each head of head_dim = 2·half of row t, at
// place p = t mod length of its text, the pair (x[i], x[i + half]) turns by the angle p·θ^(−i/half):
//   out[i] = x[i] cos − x[i + half] sin,   out[i + half] = x[i + half] cos + x[i] sin
// `table` holds, a row a place, `half` cosines and then `half` sines: a device's own are too coarse (WGSL allows 2⁻¹¹).
// BACKWARD 1 turns by the opposite angle, which is the gradient.
// One invocation turns WIDTH pairs (4 where half is a multiple of 4, else 1): half and all indices count those; grid folded by
// linearGrid.

#if WIDTH == 4
alias Value = vec4f;
#else
alias Value = f32;
#end

struct Params {
  size: u32,
  length: u32,
  heads: u32,
  half: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Value>;
@group(0) @binding(2) var<storage, read> table: array<Value>;
@group(0) @binding(3) var<storage, read_write> out: array<Value>;

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pair = linear_index(id, groups);
  if (pair >= params.size) {
    return;
  }
  let half = params.half;
  let i = pair % half;
  let head = pair / half;
  let place = head / params.heads % params.length;
  let cosine = table[place * 2u * half + i];
#if BACKWARD
  let sine = -table[(place * 2u + 1u) * half + i];
#else
  let sine = table[(place * 2u + 1u) * half + i];
#end
  let first = head * 2u * half + i;
  let second = first + half;
  out[first] = x[first] * cosine - x[second] * sine;
  out[second] = x[second] * cosine + x[first] * sine;
}
