// o of cached_attention_parts.wgsl from the sums, maxima and totals of its parts: o = Σ e^(m_p − m) x_p / Σ e^(m_p − m) t_p,
// where m is the greatest m_p
//
// sums: parts × rows × heads × HEAD_DIM; stats: parts × rows × heads, of up to 256 parts; o: rows × heads × HEAD_DIM.
// Tiling: a workgroup of 256 has a row and a head. WIDE lanes share a part, and 256 / WIDE teams take turns; their sums are added
// in order: same bits every run. Grid: x over rows, y over heads.

struct Params {
  parts: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<vec4f>;
@group(0) @binding(2) var<storage, read> stats: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> o: array<vec4f>;

var<workgroup> of_parts: array<vec2f, 256>;
var<workgroup> of_teams: array<array<vec4f, ${WIDE}>, ${256 / WIDE}>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let parts = min(params.parts, 256u);
  let own = group.x * groups.y + group.y;
  let step = groups.x * groups.y;
  let column = min(index % ${WIDE}u, ${WIDE - 1}u);
  let team = min(index / ${WIDE}u, ${256 / WIDE - 1}u);
  if (index < parts) {
    of_parts[index] = stats[index * step + own];
  }
  workgroupBarrier();
  var top = -3.0e38;
  for (var p = 0u; p < parts; p++) {
    top = max(top, of_parts[p].x);
  }
  var total = 0.0;
  for (var p = 0u; p < parts; p++) {
    total = fma(exp(of_parts[p].x - top), of_parts[p].y, total);
  }
  var x = vec4f(0.0);
  for (var p = team; p < parts; p += ${256 / WIDE}u) {
    let sum = sums[(p * step + own) * ${QUADS}u + min(column, ${QUADS - 1}u)];
    x = fma(vec4f(exp(of_parts[p].x - top)), sum, x);
  }
  of_teams[team][column] = x;
  workgroupBarrier();
  if (index < ${QUADS}u) {
    var sum = of_teams[0][column];
#for t in 1..256 / WIDE
    sum += of_teams[${t}][column];
#end
    o[own * ${QUADS}u + index] = sum / total;
  }
}
