// The attention and gradients of attention.wgsl for GPUs, by tiles in workgroup memory (FlashAttention, Dao et al. 2022).
//
// PASS 0:  o and lse, an own row is a query and the others are keys
// PASS 2:  dq, the same
// PASS 3:  dk and dv, an own row is a key and the others are the queries of all heads that share it
//
// Tiling: a workgroup of DOWN×ACROSS invocations owns DOWN·PER_OWN rows and walks the others ACROSS·PER_OTHER at a time. An
// invocation has PER_OWN own rows, DOWN apart, and PER_OTHER others that are neighbours.
// First the products over the head's width: it is staged in chunks of CHUNK vec4 as they lie, of the own rows and of the
// others, and each invocation adds to its PER_OWN×PER_OTHER products s0 (query with key) and, backward, s1 (do with v).
// Others are staged ACROSS apart, so that neighbours read neighbouring words.
// Then the sums: the weights made of the products go to workgroup memory, the others come in RUNS runs of RUN whole rows, and
// each invocation adds to PER_OWN×COLUMNS vec4 of its rows, ACROSS apart. A run lies in the tile of the others: FOLD of its
// rows where a chunk has one vec4 of all.
// The softmax is the online one (Milakov & Gimelshein 2018): only the maximum of a row crosses lanes at each step, and each
// invocation keeps its own part of the row's total to the end.
// Own rows past the edge are clamped and not stored, others past the end are clamped and have weight 0. Padding keys are not
// read. Chunks past QUADS = HEAD_DIM/4 are 0, columns past it are clamped and not stored.
// Grid: x over own rows, of causal queries the last first since they have the most keys, y over query heads (PASS 3: key
// heads), z over the batch. Sums run in an order that depends on the shape only: same bits every run.
// Arrays have several dimensions, indices that are constants come first, and places are clamped to their arrays' ends once:
// that is the check which naga would else make at each use.

#include "attention.wgsl"

var<workgroup> own_tile: array<array<array<array<vec4f, ${DOWN + 1}>, ${PER_OWN}>, ${CHUNK}>, ${PRODUCTS}>;
var<workgroup> other_tile: array<array<array<array<vec4f, ${ACROSS + 1}>, ${DEEP}>, ${CHUNK}>, ${SLABS}>;
var<workgroup> weights: array<array<array<array<vec${PER_OTHER}f, ${DOWN + 1}>, ${RUNS}>, ${RUN / PER_OTHER}>, ${PER_OWN}>;
#if PASS == 0
// In fours that are arrays, since each invocation writes one float of them.
var<workgroup> of_lanes: array<array<array<array<f32, 4>, ${ACROSS / 4}>, ${DOWN}>, ${PER_OWN}>;
fn four(floats: array<f32, 4>) -> vec4f { return vec4f(floats[0], floats[1], floats[2], floats[3]); }
#end

// The operands: own0 with other0 makes s0, own1 with other1 makes s1; summed0 is added up to x0, summed1 to x1.
#if PASS == 3
fn own0(i: u32) -> vec4f { return k[i] * params.scale; }
fn other0(i: u32) -> vec4f { return q[i]; }
fn own1(i: u32) -> vec4f { return v[i]; }
fn other1(i: u32) -> vec4f { return d_o[i]; }
fn summed0(i: u32) -> vec4f { return d_o[i]; }
fn summed1(i: u32) -> vec4f { return q[i]; }
#else
fn own0(i: u32) -> vec4f { return q[i] * params.scale; }
fn other0(i: u32) -> vec4f { return k[i]; }
#if PASS == 0
fn summed0(i: u32) -> vec4f { return v[i]; }
#else
fn own1(i: u32) -> vec4f { return d_o[i]; }
fn other1(i: u32) -> vec4f { return v[i]; }
fn summed0(i: u32) -> vec4f { return k[i]; }
#end
#end

// The others that an own row has weights with are those from first_of to end_of − 1.
#if PASS == 3
fn first_of(row: u32, tokens: u32) -> u32 {
#if CAUSAL
  return row;
#else
  return 0u;
#end
}

fn end_of(row: u32, tokens: u32) -> u32 {
#if CAUSAL == 2
  let end = select(min(row + params.window, params.length), params.length, row + 1u == tokens);
#else
  let end = params.length;
#end
  return select(0u, end, row < tokens);
}
#else
fn first_of(row: u32, tokens: u32) -> u32 {
#if CAUSAL == 2
  return min(max(row + 1u, params.window) - params.window, tokens - 1u);
#else
  return 0u;
#end
}

fn end_of(row: u32, tokens: u32) -> u32 {
#if CAUSAL
  return min(row + 1u, tokens);
#else
  return tokens;
#end
}
#end

@compute @workgroup_size(${DOWN * ACROSS})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let down = min(lane / ${ACROSS}u, ${DOWN}u);
  let across = min(lane % ${ACROSS}u, ${ACROSS}u);
  let batch = group.z;
  let length = params.length;
  let tokens = lengths[batch];
#if CAUSAL && PASS != 3
  let block = (groups.x - 1u - group.x) * ${DOWN * PER_OWN}u;
#else
  let block = group.x * ${DOWN * PER_OWN}u;
#end
#if PASS == 3
  let own_base = at(batch, params.kv_heads, group.y, 0u);
  let own_step = params.kv_heads * ${QUADS}u;
  let own_last = tokens - 1u;
  let other_step = params.heads * ${QUADS}u;
  let shared_by = params.heads / params.kv_heads;
  let end = select(0u, end_of(min(block + ${DOWN * PER_OWN}u, tokens) - 1u, tokens), block < tokens);
#else
  let own_base = at(batch, params.heads, group.y, 0u);
  let own_step = params.heads * ${QUADS}u;
  let own_last = length - 1u;
  let other_base = at(batch, params.kv_heads, group.y * params.kv_heads / params.heads, 0u);
  let other_step = params.kv_heads * ${QUADS}u;
  let stats_at = (batch * params.heads + group.y) * length;
  let end = end_of(block + ${DOWN * PER_OWN - 1}u, tokens);
#end
  let first = first_of(block, tokens);
  // All own rows have weights with these.
  let all_first = first_of(block + ${DOWN * PER_OWN - 1}u, tokens);
  let all_end = min(end_of(block, tokens), end_of(block + ${DOWN * PER_OWN - 1}u, tokens));
  // QUADS, but no constant: compilers would unroll the loop over the head's width, and run out of registers.
  let quads = min(tokens * ${QUADS}u, ${QUADS}u);

  // What this invocation stages of a chunk: vec4 `part` of one row of each.
  let part = min(lane % ${CHUNK}u, ${CHUNK - 1}u);
  let row = lane / ${CHUNK}u;
  let own_row = min(across / ${CHUNK}u, ${PER_OWN - 1}u);
  let own_at = own_base + min(block + own_row * ${DOWN}u + down, own_last) * own_step + part;
#for i in 0..PER_OWN
#for c in 0..COLUMNS
#for SIDE in 0..SUMS
  var x${SIDE}_${i}_${c} = vec4f(0.0);
#end
#end
#if PASS == 0
  var top${i} = -3.0e38;
  var total${i} = 0.0;
#end
#end

#if PASS == 3
  // The loop's body extends to where the sums are stored.
  let head_end = (group.y + 1u) * shared_by;
  for (var head = group.y * shared_by; head < head_end; head++) {
  let other_base = at(batch, params.heads, head, 0u);
  let stats_at = (batch * params.heads + head) * length;
#end
  let last_at = (end - 1u) * other_step;
  for (var start = first; start < end; start += ${ACROSS * PER_OTHER}u) {
#for i in 0..PER_OWN
#for j in 0..PER_OTHER
#for o in 0..PRODUCTS
    var s${o}_${i}_${j} = 0.0;
#end
#end
#end
    let other_at = min((start + row) * other_step, last_at) + other_base + part;
    for (var quad0 = 0u; quad0 < quads; quad0 += ${CHUNK}u) {
#if QUADS % CHUNK
      let quad = min(quad0 + part, ${QUADS - 1}u) - part;
      let is_in = vec4<bool>(quad0 + part < ${QUADS}u);
#else
      let quad = quad0;
#end
      workgroupBarrier();
#if PER_OWN * CHUNK < ACROSS
      if (across < ${PER_OWN * CHUNK}u) {
#else
      {
#end
#for o in 0..PRODUCTS
#if QUADS % CHUNK
        own_tile[${o}][part][own_row][down] = select(vec4f(0.0), own${o}(own_at + quad), is_in);
#else
        own_tile[${o}][part][own_row][down] = own${o}(own_at + quad);
#end
#end
      }
#if PER_OTHER * CHUNK < DOWN
      if (row < ${ACROSS * PER_OTHER}u) {
#else
      {
#end
        let other_row = min(row % ${PER_OTHER}u, ${DEEP - 1}u);
        let other_across = min(row / ${PER_OTHER}u, ${ACROSS}u);
#for o in 0..PRODUCTS
        other_tile[${o}][part][other_row][other_across] = other${o}(other_at + quad);
#end
      }
      workgroupBarrier();
#for d in 0..CHUNK
#for o in 0..PRODUCTS
#for i in 0..PER_OWN
      let a${o}_${d}_${i} = own_tile[${o}][${d}][${i}][down];
#end
#for j in 0..PER_OTHER
      let b${o}_${d}_${j} = other_tile[${o}][${d}][${j}][across];
#end
#for e in 0..4
#for i in 0..PER_OWN
#for j in 0..PER_OTHER
      s${o}_${i}_${j} = fma(a${o}_${d}_${i}[${e}], b${o}_${d}_${j}[${e}], s${o}_${i}_${j});
#end
#end
#end
#end
#end
    }

    let other = start + across * ${PER_OTHER}u;
    if (start < all_first || start + ${ACROSS * PER_OTHER}u > all_end) {
#for i in 0..PER_OWN
      let row${i} = block + down + ${i * DOWN}u;
      let first${i} = first_of(row${i}, tokens);
      let end${i} = end_of(row${i}, tokens);
#for j in 0..PER_OTHER
      s0_${i}_${j} = select(-3.0e38, s0_${i}_${j}, other + ${j}u >= first${i} && other + ${j}u < end${i});
#end
#end
    }
    // From here on, s0 is a weight and s1 a slope.
#if PASS == 0
#for i in 0..PER_OWN
    var top_of_lane${i} = s0_${i}_0;
#for j in 1..PER_OTHER
    top_of_lane${i} = max(top_of_lane${i}, s0_${i}_${j});
#end
    of_lanes[${i}][down][across / 4u][across % 4u] = top_of_lane${i};
#end
#end
#if PASS == 2
#for i in 0..PER_OWN
    let stat${i} = rows[stats_at + min(block + down + ${i * DOWN}u, own_last)];
#for j in 0..PER_OTHER
    s0_${i}_${j} = exp(s0_${i}_${j} - stat${i}.x);
    s1_${i}_${j} = s0_${i}_${j} * (s1_${i}_${j} - stat${i}.y);
#end
#end
#end
#if PASS == 3
#for j in 0..PER_OTHER
    let stat${j} = rows[stats_at + min(other + ${j}u, length - 1u)];
#for i in 0..PER_OWN
    s0_${i}_${j} = exp(s0_${i}_${j} - stat${j}.x);
    s1_${i}_${j} = s0_${i}_${j} * (s1_${i}_${j} - stat${j}.y);
#end
#end
#end
#if PASS == 0
    workgroupBarrier();
#for i in 0..PER_OWN
    var tops${i} = four(of_lanes[${i}][down][0]);
#for l in 1..ACROSS / 4
    tops${i} = max(tops${i}, four(of_lanes[${i}][down][${l}]));
#end
    let new_top${i} = max(top${i}, max(max(tops${i}.x, tops${i}.y), max(tops${i}.z, tops${i}.w)));
    let shrink${i} = exp(top${i} - new_top${i});
    top${i} = new_top${i};
    total${i} *= shrink${i};
#for j in 0..PER_OTHER
    s0_${i}_${j} = exp(s0_${i}_${j} - new_top${i});
    total${i} += s0_${i}_${j};
#end
#for c in 0..COLUMNS
    x0_${i}_${c} *= shrink${i};
#end
#end
#end

    let weight_lane = min(across % ${RUN / PER_OTHER}u, ${RUN / PER_OTHER - 1}u);
    let weight_run = min(across / ${RUN / PER_OTHER}u, ${RUNS - 1}u);
    let runs = (min(end - start, ${ACROSS * PER_OTHER}u) + ${RUN - 1}u) / ${RUN}u;
    // x0 += weights · v, slopes · k, or weights · do; then x1 += slopes · q.
#for SIDE in 0..SUMS
#if SIDE
    workgroupBarrier();
#end
#for i in 0..PER_OWN
#if PER_OTHER == 2
    weights[${i}][weight_lane][weight_run][down] = vec2f(s${(PASS == 2) + SIDE}_${i}_0, s${(PASS == 2) + SIDE}_${i}_1);
#else
    weights[${i}][weight_lane][weight_run][down] =
      vec4f(s${(PASS == 2) + SIDE}_${i}_0, s${(PASS == 2) + SIDE}_${i}_1, s${(PASS == 2) + SIDE}_${i}_2, s${(PASS == 2) + SIDE}_${i}_3);
#end
#end
    for (var r = 0u; r < runs; r++) {
      let run = min(r, ${RUNS - 1}u);
      // What this invocation stages of it: one vec4 of every ${DOWN / COLUMNS}th row from its own on.
      let run_row = start + run * ${RUN}u + down / ${COLUMNS}u;
      let column = min(lane % ${COLUMNS * ACROSS}u, ${QUADS - 1}u);
      let run_deep = min(down % ${DEEP}u, ${DEEP - 1}u);
      let run_part = min((down / ${DEEP}u) % ${CHUNK}u, ${CHUNK - 1}u);
#if LOAD_SLABS > 1
      let run_slab = min(down / ${DEEP * CHUNK}u, ${SLABS - 1}u);
#end
      workgroupBarrier();
#if RUN * COLUMNS < DOWN
      if (down < ${RUN * COLUMNS}u) {
#else
      {
#end
#for p in 0..RUN_LOADS
        let run_at${p} = min((run_row + ${p * DOWN / COLUMNS}u) * other_step, last_at) + other_base + column;
#if LOAD_SLABS > 1
        other_tile[${p * LOAD_SLABS}u + run_slab][run_part][run_deep][across] = summed${SIDE}(run_at${p});
#else
        other_tile[${p}][run_part][run_deep][across] = summed${SIDE}(run_at${p});
#end
#end
      }
      workgroupBarrier();
#for l in 0..RUN / PER_OTHER
#for i in 0..PER_OWN
      let w${l}_${i} = weights[${i}][${l}][run][down];
#end
#for h in PER_OTHER * l..PER_OTHER * (l + 1)
#for c in 0..COLUMNS
      let z${h}_${c} = other_tile[${h / FOLD / CHUNK}][${h / FOLD % CHUNK}][${h % FOLD * COLUMNS + c}][across];
#for i in 0..PER_OWN
      x${SIDE}_${i}_${c} = fma(vec4f(w${l}_${i}[${h % PER_OTHER}]), z${h}_${c}, x${SIDE}_${i}_${c});
#end
#end
#end
#end
    }
#end
  }
#if PASS == 3
  }
#end

#if PASS == 0
  workgroupBarrier();
#for i in 0..PER_OWN
  of_lanes[${i}][down][across / 4u][across % 4u] = total${i};
#end
  workgroupBarrier();
#end
#for i in 0..PER_OWN
#if PASS == 0
  var totals${i} = four(of_lanes[${i}][down][0]);
#for l in 1..ACROSS / 4
  totals${i} += four(of_lanes[${i}][down][${l}]);
#end
  let sum${i} = totals${i}.x + totals${i}.y + totals${i}.z + totals${i}.w;
#end
  let row${i} = block + down + ${i * DOWN}u;
  if (row${i} < length) {
    let to = own_base + row${i} * own_step + across;
#for c in 0..COLUMNS
#if (c + 1) * ACROSS > QUADS
    if (across + ${c * ACROSS}u < ${QUADS}u) {
#else
    {
#end
#if PASS == 0
      o[to + ${c * ACROSS}u] = x0_${i}_${c} / sum${i};
#end
#if PASS == 2
      d_q[to + ${c * ACROSS}u] = x0_${i}_${c} * params.scale;
#end
#if PASS == 3
      d_k[to + ${c * ACROSS}u] = x1_${i}_${c} * params.scale;
      d_v[to + ${c * ACROSS}u] = x0_${i}_${c};
#end
    }
#end
#if PASS == 0
    if (across == 0u) {
      lse[stats_at + row${i}] = top${i} + log(sum${i});
    }
#end
  }
#end
}
