// New rows into a cache: out[b, at[b] + t] = rows[b, t], for caches of `capacity` rows a text and `length` new ones; rows beyond the
// capacity are left out. Rows are `width` values.
// COPY 1: out = cache, for the rows that stay; COPY 0: the new rows. One invocation per value, grid folded by linearGrid.

struct Params {
  size: u32,
  width: u32,
  length: u32,
  capacity: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
#if COPY
@group(0) @binding(1) var<storage, read> cache: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
#else
@group(0) @binding(1) var<storage, read> rows: array<f32>;
@group(0) @binding(2) var<storage, read> at: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
#end

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) {
    return;
  }
#if COPY
  out[i] = cache[i];
#else
  let row = i / params.width;
  let batch = row / params.length;
  let place = at[batch] + row % params.length;
  if (place < params.capacity) {
    out[(batch * params.capacity + place) * params.width + i % params.width] = rows[i];
  }
#end
}
