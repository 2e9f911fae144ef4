// out[row][column] = panels[column / PANEL][row][column % PANEL]: a matrix in panels of PANEL columns (lib/graph/panels.ts), row by row
//
// Tiling: an invocation copies a vec4; grid folded by linearGrid. Sizes are in vec4s.

struct Params {
  size: u32,
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> panels: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>;

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) {
    return;
  }
  let column = i % params.columns;
  out[i] = panels[(column / ${PANEL / 4}u * params.rows + i / params.columns) * ${PANEL / 4}u + column % ${PANEL / 4}u];
}
