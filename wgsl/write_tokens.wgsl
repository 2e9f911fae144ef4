// The keys and values of new tokens into a cache of `capacity` tokens a text: token t of text b gets place at[b] + t; those
// beyond the capacity are left out. A row of keys or values is `heads` heads of 2·half vec4.
// ROTATE 1: keys are rotated on their way (see rotary.wgsl): the pair (x[i], x[i + half]) of a head by the angle of row
// places[token] of `table`, which has `half` cosines, then `half` sines.
// F16 1: caches hold halves, four in two words.
// COPY 1: the caches are copied first, for the rows that stay; `size` counts vec4.
// Otherwise one invocation per token, head and i < half, for two vec4 of keys and two of values. Grid folded by linearGrid.

#if F16
alias Stored = vec2u;
#else
alias Stored = vec4f;
#end

struct Params {
  size: u32,
#if !COPY
  heads: u32,
  half: u32,
  length: u32,
  capacity: u32,
#end
}

@group(0) @binding(0) var<uniform> params: Params;
#if COPY
@group(0) @binding(1) var<storage, read> before: array<Stored>;
@group(0) @binding(2) var<storage, read_write> after: array<Stored>;
#else
@group(0) @binding(1) var<storage, read> keys: array<vec4f>;
@group(0) @binding(2) var<storage, read> values: array<vec4f>;
@group(0) @binding(3) var<storage, read> at: array<u32>;
@group(0) @binding(4) var<storage, read_write> all_keys: array<Stored>;
@group(0) @binding(5) var<storage, read_write> all_values: array<Stored>;
#if ROTATE
@group(0) @binding(6) var<storage, read> table: array<vec4f>;
@group(0) @binding(7) var<storage, read> places: array<u32>;
#end

fn stored(value: vec4f) -> Stored {
#if F16
  return vec2u(pack2x16float(value.xy), pack2x16float(value.zw));
#else
  return value;
#end
}
#end

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let own = linear_index(id, groups);
  if (own >= params.size) {
    return;
  }
#if COPY
  after[own] = before[own];
#else
  let half = params.half;
  let i = own % half;
  let head = own / half;
  let token = head / params.heads;
  let text = token / params.length;
  let place = at[text] + token % params.length;
  if (place >= params.capacity) {
    return;
  }
  let first = head * 2u * half + i;
  let to = ((text * params.capacity + place) * params.heads + head % params.heads) * 2u * half + i;
#if ROTATE
  let row = places[token] * 2u * half;
  let cosine = table[row + i];
  let sine = table[row + half + i];
  all_keys[to] = stored(keys[first] * cosine - keys[first + half] * sine);
  all_keys[to + half] = stored(keys[first + half] * cosine + keys[first] * sine);
#else
  all_keys[to] = stored(keys[first]);
  all_keys[to + half] = stored(keys[first + half]);
#end
  all_values[to] = stored(values[first]);
  all_values[to + half] = stored(values[first + half]);
#end
}
