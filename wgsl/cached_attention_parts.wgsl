// The attention of cached_attention.wgsl for GPUs, where a row has few heads for so many lanes: parts of the keys side by
// side, of which cached_attention_join.wgsl makes the result
//
// PARTS 1: the sums of each part go to `sums`, parts × rows × heads × HEAD_DIM, and its maximum and total to `stats`, parts ×
// rows × heads. PARTS 0: there is one part, and o is the result.
// Tiling: a workgroup of 128 has a row, GROUP query heads of one key head, and a part of the keys: an equal share of those
// that the row sees, in whole tiles of TILE keys, which it walks with the online softmax.
// First the products: LANES lanes share a key and read it in runs, TEAMS keys at a time. Their sums meet in workgroup memory,
// and a lane adds up one score of GROUP·TILE.
// A lane keeps the maximum of its score's head, and its own part of the total to the end.
// Then the sums: WIDE lanes share a value, 128 / WIDE of them at a time, by teams that have four neighbouring keys each; at the
// end the teams' sums are added in order.
// Keys past the end are clamped and have weight 0, and what is past QUADS = HEAD_DIM/4 counts as 0 or is not stored.
// Grid: x over rows, y over groups of heads, z over parts. The order of the sums depends on the shape and the row's place only.

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
#if PARTS
@group(0) @binding(5) var<storage, read_write> sums: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> stats: array<vec2f>;
#else
@group(0) @binding(5) var<storage, read_write> o: array<vec4f>;
#end

var<workgroup> products: array<array<array<array<f32, ${LANES + 1}>, ${TEAMS}>, ${TILE / TEAMS}>, ${GROUP}>;
// In fours that are arrays, since each invocation writes one float of them.
var<workgroup> of_keys: array<array<array<f32, 4>, ${TILE / 4}>, ${GROUP}>;
var<workgroup> weights: array<array<array<array<f32, 4>, ${128 / WIDE}>, ${TILE * WIDE / 512}>, ${GROUP}>;
fn four(floats: array<f32, 4>) -> vec4f { return vec4f(floats[0], floats[1], floats[2], floats[3]); }
var<workgroup> of_heads: array<f32, ${GROUP}>;
var<workgroup> of_teams: array<array<vec4f, ${WIDE}>, ${128 / WIDE}>;

@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let row = group.x;
  let head0 = group.y * ${GROUP}u;
  let step = params.kv_heads * ${QUADS}u;
  let base = row / params.length * params.capacity * step + head0 * params.kv_heads / params.heads * ${QUADS}u;
  let own = (row * params.heads + head0) * ${QUADS}u;
  let scale = params.scale;
  // The part: the keys from part_start to part_end − 1.
  let place = places[row];
  let end = min(place + 1u, params.capacity);
#if WINDOW
  let start = max(end, params.window) - params.window;
#else
  let start = 0u;
#end
  let share = (end - start + groups.z - 1u) / groups.z;
  let part = (share + ${TILE - 1}u) / ${TILE}u * ${TILE}u;
  let part_start = start + group.z * part;
  let part_end = min(part_start + part, end);

  let lane = min(index % ${LANES}u, ${LANES}u);
  let team = min(index / ${LANES}u, ${TEAMS - 1}u);
  // The score that this lane adds up, of a key and a head.
  let key = index % ${TILE}u;
  let head = min(index / ${TILE}u, ${GROUP - 1}u);
  let column = min(index % ${WIDE}u, ${WIDE - 1}u);
  let team_of_values = min(index / ${WIDE}u, ${128 / WIDE - 1}u);
#for g in 0..GROUP
  var x${g} = vec4f(0.0);
#end
  var top = -3.0e38;
  var total = 0.0;

  for (var tile = part_start; tile < part_end; tile += ${TILE}u) {
#for n in 0..TILE / TEAMS
    let key_at${n} = base + min(tile + ${n * TEAMS}u + team, end - 1u) * step;
#for g in 0..GROUP
    var s${g}_${n} = 0.0;
#end
#end
    for (var quad0 = 0u; quad0 < ${QUADS}u; quad0 += ${LANES}u) {
      let quad = min(quad0 + lane, ${QUADS - 1}u);
#for n in 0..TILE / TEAMS
      let b${n} = value_of(k[key_at${n} + quad]);
#end
#for g in 0..GROUP
#if QUADS % LANES
      let a${g} = select(vec4f(0.0), query(own + ${g * QUADS}u, quad, place), vec4<bool>(quad0 + lane < ${QUADS}u));
#else
      let a${g} = query(own + ${g * QUADS}u, quad, place);
#end
#for n in 0..TILE / TEAMS
#for e in 0..4
      s${g}_${n} = fma(a${g}[${e}], b${n}[${e}], s${g}_${n});
#end
#end
#end
    }
#for g in 0..GROUP
#for n in 0..TILE / TEAMS
    products[${g}][${n}][team][lane] = s${g}_${n};
#end
#end
    workgroupBarrier();
    var score = 0.0;
#for l in 0..LANES
    score += products[head][key / ${TEAMS}u][key % ${TEAMS}u][${l}];
#end
    score = select(-3.0e38, score * scale, tile + key < end);
    if (index < ${GROUP * TILE}u) {
      of_keys[head][key / 4u][key % 4u] = score;
    }
    workgroupBarrier();
    var tops = four(of_keys[head][0]);
#for l in 1..TILE / 4
    tops = max(tops, four(of_keys[head][${l}]));
#end
    let new_top = max(top, max(max(tops.x, tops.y), max(tops.z, tops.w)));
    let shrink = exp(top - new_top);
    let weight = exp(score - new_top);
    top = new_top;
    total = total * shrink + weight;
    if (index < ${GROUP * TILE}u) {
      weights[head][key / ${512 / WIDE}u][(key / 4u) % ${128 / WIDE}u][key % 4u] = weight;
      if (key == 0u) {
        of_heads[head] = shrink;
      }
    }
    workgroupBarrier();
#for g in 0..GROUP
    x${g} *= of_heads[${g}];
#end
#for n in 0..TILE * WIDE / 512
#for e in 0..4
    let z${n}_${e} = value_of(v[base + min(tile + ${n * 512 / WIDE + e}u + team_of_values * 4u, end - 1u) * step + min(column, ${QUADS - 1}u)]);
#end
#for g in 0..GROUP
    let w${n}_${g} = four(weights[${g}][${n}][team_of_values]);
#for e in 0..4
    x${g} = fma(vec4f(w${n}_${g}[${e}]), z${n}_${e}, x${g});
#end
#end
#end
  }

  // The totals of the lanes, and then of the teams.
  if (index < ${GROUP * TILE}u) {
    of_keys[head][key / 4u][key % 4u] = total;
  }
  workgroupBarrier();
  if (index < ${GROUP * TILE}u && key == 0u) {
    var totals = four(of_keys[head][0]);
#for l in 1..TILE / 4
    totals += four(of_keys[head][${l}]);
#end
    let sum = totals.x + totals.y + totals.z + totals.w;
    of_heads[head] = sum;
#if PARTS
    stats[(group.z * groups.x + row) * params.heads + head0 + head] = vec2f(top, sum);
#end
  }
#for g in 0..GROUP
  workgroupBarrier();
  of_teams[team_of_values][column] = x${g};
  workgroupBarrier();
  if (index < ${QUADS}u) {
    var sum = of_teams[0][column];
#for t in 1..128 / WIDE
    sum += of_teams[${t}][column];
#end
#if PARTS
    sums[group.z * groups.x * params.heads * ${QUADS}u + own + ${g * QUADS}u + index] = sum;
#else
    o[own + ${g * QUADS}u + index] = sum / of_heads[${g}];
#end
  }
#end
}
