// out = a, four floats an invocation, neighbours side by side: as many bytes as a device's memory moves, half of them read.
// Grid: ⌈quads / 256⌉ workgroups of 256, folded into x and y.

@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4f>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let i = (group.y * groups.x + group.x) * 256u + local;
  if (i < arrayLength(&out)) {
    out[i] = a[i];
  }
}
