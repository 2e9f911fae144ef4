// Attention of new tokens over a cache of keys and values. q and o: (texts·length)×(heads·HEAD_DIM); k and v:
// (texts·capacity)×(kv_heads·HEAD_DIM). heads/kv_heads neighbouring query heads share a key head. The token of row t is at
// position places[t] of its text and sees the keys up to there, or if WINDOW is 1 the last `window` of them.
// F16 1: k and v hold halves, four in two words. ROTATE 1: queries are rotated on their way (see rotary.wgsl) by the angle of row
// places[t] of `table`, which has HEAD_DIM/2 cosines, then as many sines.
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
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
#if F16
@group(0) @binding(2) var<storage, read> k: array<vec2u>;
@group(0) @binding(3) var<storage, read> v: array<vec2u>;
#else
@group(0) @binding(2) var<storage, read> k: array<vec4f>;
@group(0) @binding(3) var<storage, read> v: array<vec4f>;
#end
@group(0) @binding(4) var<storage, read> places: array<u32>;
@group(0) @binding(5) var<storage, read_write> o: array<vec4f>;
#if ROTATE
@group(0) @binding(6) var<storage, read> table: array<vec4f>;

var<workgroup> turned: array<vec4f, ${HEAD_DIM / 4}>;
#end

var<workgroup> scores: array<f32, ${WORKGROUP}>;

#if F16
fn value_of(halves: vec2u) -> vec4f {
  return vec4f(unpack2x16float(halves.x), unpack2x16float(halves.y));
}
#else
fn value_of(value: vec4f) -> vec4f {
  return value;
}
#end

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  let head = group.y;
  let step = params.kv_heads * ${HEAD_DIM / 4}u;
  let base = row / params.length * params.capacity * step + head * params.kv_heads / params.heads * ${HEAD_DIM / 4}u;
  let own = (row * params.heads + head) * ${HEAD_DIM / 4}u;
  let end = min(places[row] + 1u, params.capacity);
#if WINDOW
  let start = max(end, params.window) - params.window;
#else
  let start = 0u;
#end
#if ROTATE
  let angle = places[row] * ${HEAD_DIM / 4}u;
  for (var c = lane; c < ${HEAD_DIM / 8}u; c += ${WORKGROUP}u) {
    let first = q[own + c];
    let second = q[own + c + ${HEAD_DIM / 8}u];
    let cosine = table[angle + c];
    let sine = table[angle + c + ${HEAD_DIM / 8}u];
    turned[c] = first * cosine - second * sine;
    turned[c + ${HEAD_DIM / 8}u] = second * cosine + first * sine;
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
    for (var c = 0u; c < ${HEAD_DIM / 4}u; c++) {
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
      sum${d} = fma(vec4f(p), value_of(v[value + min(${d * WORKGROUP}u + lane, ${HEAD_DIM / 4 - 1}u)]), sum${d});
#end
    }
  }
#for d in 0..DIMS
  if (${d * WORKGROUP}u + lane < ${HEAD_DIM / 4}u) {
    o[own + ${d * WORKGROUP}u + lane] = sum${d} / total;
  }
#end
}
