// Rotary position embedding (Su et al. 2021) in Hugging Face's half-split convention. Row t is at
// position p = places[t] of its text. In each head of head_dim = 2·half, the pair (x[i], x[i + half]) is
// rotated by an angle that grows with p and is the table's, such as p·θ^(−i/half):
//   out[i] = x[i] cos − x[i + half] sin,   out[i + half] = x[i + half] cos + x[i] sin
// `table` has one row per position: `half` cosines, then `half` sines. A device's own functions are too
// inaccurate (WGSL allows errors of 2⁻¹¹). BACKWARD 1 rotates by the opposite angle, which gives the
// gradient.
// One invocation rotates WIDTH pairs (4 if half is a multiple of 4, else 1); half and all indices count
// these. Grid folded by linearGrid.

#if WIDTH == 4
alias Value = vec4f;
#else
alias Value = f32;
#end

struct Params {
  size: u32,
  heads: u32,
  half: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Value>;
@group(0) @binding(2) var<storage, read> table: array<Value>;
@group(0) @binding(3) var<storage, read> places: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<Value>;

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
  let place = places[head / params.heads];
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
