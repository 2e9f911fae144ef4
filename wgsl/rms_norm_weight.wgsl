// dγ[j] = Σ_t dy[t, j] · x[t, j] · scales[t] for x of rows×cols. One workgroup of WORKGROUP invocations per
// column; they share the rows and add up in a tree, in the same order every run. Grid: cols, folded.

struct Params {
  rows: u32,
  cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> d_gamma: array<f32>;

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
    let at = row * params.cols + col;
    sum += dy[at] * x[at] * scales[row];
  }
  let total = workgroup_sum(sum, lane);
  if (lane == 0u) {
    d_gamma[col] = total;
  }
}
