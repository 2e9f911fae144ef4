// Σ exp(x) of many values as (top, sum), which stands for sum · exp(top); top is the largest of them (online softmax, Milakov &
// Gimelshein 2018). What has no values yet is (−2e38, 0): finite, and so is its multiple by log₂ e.
const no_values = vec2f(-2.0e38, 0.0);

fn joined(a: vec2f, b: vec2f) -> vec2f {
  let top = max(a.x, b.x);
  return vec2f(top, a.y * exp(a.x - top) + b.y * exp(b.x - top));
}

var<workgroup> softmax_sums: array<vec2f, ${WORKGROUP}>;

// All values of a workgroup of ${WORKGROUP} invocations, joined in a tree: same bits every run.
fn workgroup_joined(own: vec2f, lane: u32) -> vec2f {
  softmax_sums[lane] = own;
  workgroupBarrier();
  for (var half = ${WORKGROUP / 2}u; half > 0u; half = half / 2u) {
    if (lane < half) {
      softmax_sums[lane] = joined(softmax_sums[lane], softmax_sums[lane + half]);
    }
    workgroupBarrier();
  }
  return softmax_sums[0];
}
