// PASS 1 of attention.wgsl for GPUs: δ_i = do_i·o_i of each query row, stored next to lse_i in `rows`, before PASS 2 and 3
//
// The sum runs in the order of attention_tiles.wgsl's do_i·v_j, so that a row that sees one key, whose o is that key's v, has
// gradients of exactly 0.
// Tiling: a workgroup of 256 owns 64 rows and stages 4 vec4 of each at a time, one an invocation: four neighbours read a run of
// a row. Then the first 64 invocations add to the sums of a row each. Past the head's width they add 0.
// Grid: x over query rows, y over query heads, z over the batch.

#include "attention.wgsl"

var<workgroup> d_o_tile: array<array<vec4f, 65>, 4>;
var<workgroup> o_tile: array<array<vec4f, 65>, 4>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let part = min(lane % 4u, 3u);
  let to = min(lane / 4u, 64u);
  let own = min(lane, 64u);
  let row0 = group.x * 64u;
  let start = at(group.z, params.heads, group.y, min(row0 + to, params.length - 1u));
  var delta = 0.0;
  for (var quad0 = 0u; quad0 < ${HEAD_DIM / 4}u; quad0 += 4u) {
    let quad = min(quad0 + part, ${HEAD_DIM / 4 - 1}u);
    workgroupBarrier();
    d_o_tile[part][to] = select(vec4f(0.0), d_o[start + quad], vec4<bool>(quad0 + part < ${HEAD_DIM / 4}u));
    o_tile[part][to] = o[start + quad];
    workgroupBarrier();
    if (lane < 64u) {
#for d in 0..4
      let a${d} = d_o_tile[${d}][own];
      let b${d} = o_tile[${d}][own];
#for e in 0..4
      delta = fma(a${d}[${e}], b${d}[${e}], delta);
#end
#end
    }
  }
  let row = row0 + lane;
  if (lane < 64u && row < params.length) {
    let at_row = (group.z * params.heads + group.y) * params.length + row;
    rows[at_row] = vec2f(lse[at_row], delta);
  }
}
