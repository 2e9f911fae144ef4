// The flat index of an invocation in a 1-D problem of any size. A grid dimension holds at most 65,535
// workgroups, so `linearGrid` (lib/gpu/kernel.ts) folds a long 1-D grid into x and y; this unfolds it.
fn linear_index(id: vec3u, groups: vec3u) -> u32 {
  return id.x + id.y * groups.x * ${WORKGROUP}u;
}
