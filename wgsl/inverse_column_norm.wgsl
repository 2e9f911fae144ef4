// out[j] = 1 / ‖x_j‖₂ for the columns of x, rows×cols; 1e30 for a column of zeros. One invocation per column
// sums its rows in order: same bits every run. Neighbours read neighbouring columns. Grid folded by
// linearGrid.

struct Params {
  rows: u32,
  cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let col = linear_index(id, groups);
  if (col >= params.cols) {
    return;
  }
  var sum = 0.0;
  for (var row = 0u; row < params.rows; row++) {
    let value = x[row * params.cols + col];
    sum = fma(value, value, sum);
  }
  out[col] = 1.0 / max(sqrt(sum), 1e-30);
}
