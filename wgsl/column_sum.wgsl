// out[j] = Σ_i x[i, j] for x of rows×cols: the gradient of a bias. A workgroup of WORKGROUP invocations sums
// one column: each invocation a strided share of the rows, then a tree. The order is fixed: same bits every
// run. Grid: cols, folded.

struct Params {
  rows: u32,
  cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

#include "workgroup_sum.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let col = group.x + group.y * groups.x;
  if (col >= params.cols) {
    return;
  }
  var sum = 0.0;
  for (var row = lane; row < params.rows; row += ${WORKGROUP}u) {
    sum += x[row * params.cols + col];
  }
  let total = workgroup_sum(sum, lane);
  if (lane == 0u) {
    out[col] = total;
  }
}
