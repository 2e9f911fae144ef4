// Sum over a workgroup of ${WORKGROUP} invocations in a fixed order: a binary tree over workgroup memory, so
// every bit of the result is the same in every run.
var<workgroup> partial_sums: array<f32, ${WORKGROUP}>;

fn workgroup_sum(value: f32, lane: u32) -> f32 {
  partial_sums[lane] = value;
  workgroupBarrier();
  for (var half = ${WORKGROUP / 2}u; half > 0u; half = half / 2u) {
    if (lane < half) {
      partial_sums[lane] += partial_sums[lane + half];
    }
    workgroupBarrier();
  }
  let total = partial_sums[0];
  workgroupBarrier();
  return total;
}
