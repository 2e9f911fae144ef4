// out[t] = onto[t] + table[index[t] − first_row]; the second term only if that row is one of the table's
// `rows`. One invocation per four values. index: tokens; table: rows×4·width; onto (if ONTO is 1) and out:
// tokens×4·width. IN_PLACE 1: onto is out. STORED 0: the table is f32; 1: in another storage, which supplies the
// parts table.bindings and table.load (lib/graph/storages).

struct Params {
  size: u32,
  width: u32,
  rows: u32,
  first_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> index: array<u32>;
#include "table.bindings"
#if ONTO && !IN_PLACE
@group(0) @binding(3) var<storage, read> onto: array<vec4f>;
#end
@group(0) @binding(4) var<storage, read_write> out: array<vec4f>;

#if STORED
fn load_table(i: u32) -> vec4f {
#include "table.load"
}
#end

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) {
    return;
  }
  var value = vec4f(0.0);
#if ONTO && !IN_PLACE
  value = onto[i];
#end
#if ONTO && IN_PLACE
  value = out[i];
#end
  // An index before first_row wraps around to a number larger than any table.
  let row = index[i / params.width] - params.first_row;
  if (row < params.rows) {
#if STORED
    value += load_table(row * params.width + i % params.width);
#else
    value += table[row * params.width + i % params.width];
#end
  }
  out[i] = value;
}
