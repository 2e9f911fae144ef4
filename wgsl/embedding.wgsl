// PASS 0: out[t] = scale · table[ids[t]] + positions[t mod length] for each token t. One invocation per WIDTH
// floats (4 if the row length is a multiple of 4, else 1); `width` and all indices count these. In the other
// passes WIDTH is 1.
// PASS 1: clears the table's gradient.
// PASS 2: one invocation per token t and column. If t is the first token with its id, it adds up the
// gradients of all tokens with that id, in order: no atomics, same bits every run. The table's `rows` belong
// to the ids from first_row on; other ids have no row (those before first_row wrap around to large numbers).
// Each token looks at all ids: GPUs have order_ids.wgsl and sum_by_id.wgsl instead.

#if WIDTH == 4
alias Value = vec4f;
#else
alias Value = f32;
#end

struct Params {
  size: u32,
  width: u32,
  length: u32,
  tokens: u32,
  scale: f32,
#if PASS != 0
  rows: u32,
  first_row: u32,
#end
}

@group(0) @binding(0) var<uniform> params: Params;
#if PASS == 0
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<Value>;
@group(0) @binding(3) var<storage, read> positions: array<Value>;
#end
#if PASS == 2
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> gradient: array<Value>;
#end
@group(0) @binding(4) var<storage, read_write> out: array<Value>;

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) {
    return;
  }
#if PASS == 1
  out[i] = 0.0;
#else
  let token = i / params.width;
  let col = i % params.width;
  let own = ids[token];
#if PASS == 0
  out[i] = params.scale * table[own * params.width + col] + positions[(token % params.length) * params.width + col];
#else
  let row = own - params.first_row;
  if (row >= params.rows) {
    return;
  }
  for (var t = 0u; t < token; t++) {
    if (ids[t] == own) {
      return;
    }
  }
  var sum = 0.0;
  for (var t = token; t < params.tokens; t++) {
    if (ids[t] == own) {
      sum += gradient[t * params.width + col];
    }
  }
  out[row * params.width + col] = params.scale * sum;
#end
#end
}
