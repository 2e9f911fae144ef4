// Attention of new tokens over a cache of keys and values. q and o: (texts·length)×(heads·4·QUADS); k and v:
// (texts·capacity)×(kv_heads·4·QUADS). heads/kv_heads neighbouring query heads share a key head. The token of row t is at
// position places[t] of its text and sees the keys up to there, or if WINDOW is 1 the last `window` of them.
//
// One workgroup of WORKGROUP lanes per row (x) and query head (y). It walks the keys WORKGROUP at a time (online softmax): a lane
// computes the score of one key; then it adds the weighted values of all of them to its own DIMS vec4 of the head. Sums run in
// order of the keys: same bits every run.

struct Params {
  length: u32,
  capacity: u32,
  heads: u32,
  kv_heads: u32,
  scale: f32,
#if WINDOW
  window: u32,
#end
}

@group(0) @binding(0) var<uniform> params: Params;
#include "cache.wgsl"

@group(0) @binding(4) var<storage, read> places: array<u32>;
@group(0) @binding(5) var<storage, read_write> o: array<vec4f>;

#if ROTATE
var<workgroup> turned: array<vec4f, ${QUADS}>;
#end
var<workgroup> scores: array<f32, ${WORKGROUP}>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  let head = group.y;
  let step = params.kv_heads * ${QUADS}u;
  let base = row / params.length * params.capacity * step + head * params.kv_heads / params.heads * ${QUADS}u;
  let own = (row * params.heads + head) * ${QUADS}u;
  let end = min(places[row] + 1u, params.capacity);
#if WINDOW
  let start = max(end, params.window) - params.window;
#else
  let start = 0u;
#end
#if ROTATE
  for (var c = lane; c < ${QUADS}u; c += ${WORKGROUP}u) {
    turned[c] = query(own, c, places[row]);
  }
  workgroupBarrier();
#end
#for d in 0..DIMS
  var sum${d} = vec4f(0.0);
#end
  var top = -3.0e38;
  var total = 0.0;
  for (var tile = start; tile < end; tile += ${WORKGROUP}u) {
    let key = base + min(tile + lane, end - 1u) * step;
    var dots = vec4f(0.0);
    for (var c = 0u; c < ${QUADS}u; c++) {
#if ROTATE
      dots = fma(turned[c], value_of(k[key + c]), dots);
#else
      dots = fma(q[own + c], value_of(k[key + c]), dots);
#end
    }
    let score = select(-3.0e38, dot(dots, vec4f(params.scale)), tile + lane < end);
    workgroupBarrier();
    scores[lane] = score;
    workgroupBarrier();
    var new_top = top;
    for (var i = 0u; i < ${WORKGROUP}u; i++) {
      new_top = max(new_top, scores[i]);
    }
    let shrink = exp(top - new_top);
    top = new_top;
    total *= shrink;
#for d in 0..DIMS
    sum${d} *= shrink;
#end
    let keys = min(${WORKGROUP}u, end - tile);
    for (var i = 0u; i < keys; i++) {
      let p = exp(scores[i] - top);
      total += p;
      let value = base + (tile + i) * step;
#for d in 0..DIMS
      sum${d} = fma(vec4f(p), value_of(v[value + min(${d * WORKGROUP}u + lane, ${QUADS - 1}u)]), sum${d});
#end
    }
  }
#for d in 0..DIMS
  if (${d * WORKGROUP}u + lane < ${QUADS}u) {
    o[own + ${d * WORKGROUP}u + lane] = sum${d} / total;
  }
#end
}
