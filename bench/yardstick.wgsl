// out = A B for 256×256 matrices, one entry per invocation, written as plainly as possible: about the same
// mix of arithmetic and cached reads as the works. Not part of the library and never tuned: its time shows
// how fast the machine is at the moment. Grid: 32×32 workgroups.

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  var sum = 0.0;
  for (var k = 0u; k < 256u; k += 1u) {
    sum += a[id.y * 256u + k] * b[k * 256u + id.x];
  }
  out[id.y * 256u + id.x] = sum;
}
