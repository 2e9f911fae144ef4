// The most multiply-adds that a device does: every invocation keeps eight sums of four lanes each, none of which waits
// for another, and the loop reads and writes no memory. What is written afterwards only keeps the loop from being left out.
// Grid: any number of workgroups of 256. 2 · 32 · rounds FLOPs an invocation.

struct Params {
  rounds: u32,
  factor: f32,
  addend: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let factor = vec4f(params.factor);
  let addend = vec4f(params.addend);
  var s0 = vec4f(f32(id.x));
  var s1 = s0 + 1.0;
  var s2 = s0 + 2.0;
  var s3 = s0 + 3.0;
  var s4 = s0 + 4.0;
  var s5 = s0 + 5.0;
  var s6 = s0 + 6.0;
  var s7 = s0 + 7.0;
  for (var i = 0u; i < params.rounds; i += 1u) {
    s0 = fma(s0, factor, addend);
    s1 = fma(s1, factor, addend);
    s2 = fma(s2, factor, addend);
    s3 = fma(s3, factor, addend);
    s4 = fma(s4, factor, addend);
    s5 = fma(s5, factor, addend);
    s6 = fma(s6, factor, addend);
    s7 = fma(s7, factor, addend);
  }
  let sum = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7;
  let total = sum.x + sum.y + sum.z + sum.w;
  if (total == 0.5) {
    out[0] = total;
  }
}
