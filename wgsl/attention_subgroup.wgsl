// The attention and gradients of attention.wgsl, with loads shared between the lanes of a subgroup. For
// devices with one subgroup size, and heads whose width the lanes divide. A software driver spends its time
// in loads, one float per lane.
//
// PASS 0, ROWS query rows per subgroup:  o and lse
// PASS 2, ROWS query rows per subgroup:  dq
// PASS 3, ROWS key rows per subgroup:    dk and dv
//
// Tiling: a workgroup is one subgroup of SUBGROUP lanes. It owns ROWS rows and walks the other side (the
// keys, in PASS 3 the queries) in steps of 4·SUBGROUP rows, 4 neighbours per lane.
// First the products: the own rows are loaded one per lane and broadcast, and each lane loads its 4 other
// rows; s<i> is own row i times these 4. Then the sums: the weights of the own rows are broadcast, lane after
// lane, and each lane adds to VECS vec4 of the head's width, those at q·SUBGROUP + lane. Rows past the edge
// are clamped on load and have weight 0. No lane returns early, since broadcasts need all lanes.
// At the end the sums are stored STRIP rows at a time, and the other rows' move up into their variables:
// some compilers take long over each store in the text.
// Grid: x over own rows (ROWS per group), y over query heads (PASS 3: key heads), z over the batch. lse and
// rows are batch×heads×length. Sums run in order of j or i in each lane, then over the lanes: same bits every
// run.

#include "attention.wgsl"

var<workgroup> weights: array<vec4f, ${SUBGROUP * ROWS}>;
#if PASS == 3
var<workgroup> slopes: array<vec4f, ${SUBGROUP * ROWS}>;
#end

@compute @workgroup_size(${SUBGROUP})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let row0 = group.x * ${ROWS}u;
  let batch = group.z;
  let tokens = lengths[batch];
  let last = params.length - 1u;
#if PASS == 3
  let kv_head = group.y;
  let shared_by = params.heads / params.kv_heads;
  let step = params.heads * ${HEAD_DIM / 4}u;
#else
  let head = group.y;
  let kv_head = head * params.kv_heads / params.heads;
  let step = params.kv_heads * ${HEAD_DIM / 4}u;
  let base = at(batch, params.kv_heads, kv_head, 0u);
  let stat0 = (batch * params.heads + head) * params.length;
#end
#for p in 0..ROWS / SUBGROUP
  let row_of${p} = min(row0 + ${p * SUBGROUP}u + lane, last);
#if PASS == 3
  let own${p} = at(batch, params.kv_heads, kv_head, row_of${p});
#else
  let own${p} = at(batch, params.heads, head, row_of${p});
#end
#end

#if PASS == 2
#for p in 0..ROWS / SUBGROUP
  let own_stat${p} = rows[stat0 + row_of${p}];
#for l in 0..SUBGROUP
  let of_row${p * SUBGROUP + l} = subgroupBroadcast(own_stat${p}, ${l}u);
#end
#end
#end
#for i in 0..ROWS
#for w in 0..VECS
  var x${i}_${w} = vec4f(0.0);
#if PASS == 3
  var y${i}_${w} = vec4f(0.0);
#end
#end
#if PASS == 0
  var top${i} = -3.0e38;
  var total${i} = 0.0;
#end
#end

#if PASS == 3
  let end = select(0u, params.length, row0 < tokens);
  // The loop's body extends to where the sums are stored.
  for (var q_head = kv_head * shared_by; q_head < (kv_head + 1u) * shared_by; q_head++) {
  let base = at(batch, params.heads, q_head, 0u);
  let stat0 = (batch * params.heads + q_head) * params.length;
#else
#if CAUSAL
  let end = min(tokens, row0 + ${ROWS}u);
#else
  let end = tokens;
#end
#end
#if PASS == 3 && CAUSAL == 1
  for (var col0 = row0; col0 < end; col0 += ${4 * SUBGROUP}u) {
#end
#if PASS == 3 && CAUSAL == 2
  let seen_end = select(min(end, row0 + ${ROWS}u + params.window), end, row0 + ${ROWS}u >= tokens);
  for (var col0 = row0; col0 < seen_end; col0 += ${4 * SUBGROUP}u) {
#end
#if PASS != 3 && CAUSAL == 2
  let unseen = min(max(row0 + 1u, params.window) - params.window, tokens - 1u);
  for (var col0 = unseen - unseen % ${4 * SUBGROUP}u; col0 < end; col0 += ${4 * SUBGROUP}u) {
#end
#if PASS == 3 && !CAUSAL || PASS != 3 && CAUSAL != 2
  for (var col0 = 0u; col0 < end; col0 += ${4 * SUBGROUP}u) {
#end
    let col = vec4u(col0 + 4u * lane) + vec4u(0u, 1u, 2u, 3u);
    let other = base + min(col, vec4u(end - 1u)) * step;
#for i in 0..ROWS
    var s${i} = vec4f(0.0);
#if PASS > 0
    var t${i} = vec4f(0.0);
#end
#end
    for (var c = 0u; c < ${HEAD_DIM / 4}u; c++) {
#for p in 0..ROWS / SUBGROUP
#if PASS == 3
      let a${p} = k[own${p} + c] * params.scale;
      let d${p} = v[own${p} + c];
#else
      let a${p} = q[own${p} + c] * params.scale;
#if PASS == 2
      let d${p} = d_o[own${p} + c];
#end
#end
#end
#for j in 0..4
#if PASS == 3
      let bt${j} = q[other[${j}] + c];
      let et${j} = d_o[other[${j}] + c];
#else
      let bt${j} = k[other[${j}] + c];
#if PASS == 2
      let et${j} = v[other[${j}] + c];
#end
#end
#end
#for e in 0..4
      let b${e} = vec4f(bt0[${e}], bt1[${e}], bt2[${e}], bt3[${e}]);
#if PASS > 0
      let e${e} = vec4f(et0[${e}], et1[${e}], et2[${e}], et3[${e}]);
#end
#end
#for p in 0..ROWS / SUBGROUP
#for l in 0..SUBGROUP
      let a${p}_${l} = subgroupBroadcast(a${p}, ${l}u);
#for e in 0..4
      s${p * SUBGROUP + l} = fma(vec4f(a${p}_${l}[${e}]), b${e}, s${p * SUBGROUP + l});
#end
#if PASS > 0
      let d${p}_${l} = subgroupBroadcast(d${p}, ${l}u);
#for e in 0..4
      t${p * SUBGROUP + l} = fma(vec4f(d${p}_${l}[${e}]), e${e}, t${p * SUBGROUP + l});
#end
#end
#end
#end
    }

#if PASS == 3
    let stat_x = rows[stat0 + min(col.x, last)];
    let stat_y = rows[stat0 + min(col.y, last)];
    let stat_z = rows[stat0 + min(col.z, last)];
    let stat_w = rows[stat0 + min(col.w, last)];
    let lse = vec4f(stat_x.x, stat_y.x, stat_z.x, stat_w.x);
    let delta = vec4f(stat_x.y, stat_y.y, stat_z.y, stat_w.y);
#end
#for i in 0..ROWS
#if PASS == 3
#if CAUSAL == 1
    let seen${i} = (col < vec4u(end)) & (col >= vec4u(row0 + ${i}u)) & vec4<bool>(row0 + ${i}u < tokens);
#end
#if CAUSAL == 2
    let past${i} = select(min(end, row0 + ${i}u + params.window), end, row0 + ${i + 1}u == tokens);
    let seen${i} = (col < vec4u(past${i})) & (col >= vec4u(row0 + ${i}u)) & vec4<bool>(row0 + ${i}u < tokens);
#end
#if !CAUSAL
    let seen${i} = (col < vec4u(end)) & vec4<bool>(row0 + ${i}u < tokens);
#end
#else
#if CAUSAL == 1
    let seen${i} = col < vec4u(min(tokens, row0 + ${i + 1}u));
#end
#if CAUSAL == 2
    let from${i} = min(max(row0 + ${i + 1}u, params.window) - params.window, tokens - 1u);
    let seen${i} = (col < vec4u(min(tokens, row0 + ${i + 1}u))) & (col >= vec4u(from${i}));
#end
#if !CAUSAL
    let seen${i} = col < vec4u(end);
#end
#end
#if PASS == 0
    let score${i} = select(vec4f(-3.0e38), s${i}, seen${i});
    let new_top${i} = max(top${i}, subgroupMax(max(max(score${i}.x, score${i}.y), max(score${i}.z, score${i}.w))));
    let shrink${i} = exp(top${i} - new_top${i});
    let p${i} = exp(score${i} - new_top${i});
    top${i} = new_top${i};
    total${i} = total${i} * shrink${i} + dot(p${i}, vec4f(1.0));
#for w in 0..VECS
    x${i}_${w} *= shrink${i};
#end
#end
#if PASS == 2
    let p${i} = select(vec4f(0.0), exp(s${i} - of_row${i}.x), seen${i}) * (t${i} - of_row${i}.y) * params.scale;
#end
#if PASS == 3
    let p${i} = select(vec4f(0.0), exp(s${i} - lse), seen${i});
    let ds${i} = p${i} * (t${i} - delta) * params.scale;
#end
#end

    workgroupBarrier();
#for i in 0..ROWS
    weights[lane * ${ROWS}u + ${i}u] = p${i};
#if PASS == 3
    slopes[lane * ${ROWS}u + ${i}u] = ds${i};
#end
#end
    workgroupBarrier();
    let row_end = base + lane + (end - 1u) * step;
    var row = base + lane + col0 * step;
    for (var l = 0u; l < ${SUBGROUP}u; l++) {
#for p in 0..ROWS / SUBGROUP
      let w${p} = weights[l * ${ROWS}u + ${p * SUBGROUP}u + lane];
#if PASS == 3
      let g${p} = slopes[l * ${ROWS}u + ${p * SUBGROUP}u + lane];
#end
#end
#for e in 0..4
#for w in 0..VECS
#if PASS == 0
      let z${e}_${w} = v[row + ${w * SUBGROUP}u];
#end
#if PASS == 2
      let z${e}_${w} = k[row + ${w * SUBGROUP}u];
#end
#if PASS == 3
      let z${e}_${w} = d_o[row + ${w * SUBGROUP}u];
      let h${e}_${w} = q[row + ${w * SUBGROUP}u];
#end
#end
      row = min(row + step, row_end);
#end
#for p in 0..ROWS / SUBGROUP
#for i in 0..SUBGROUP
      let w${p}_${i} = subgroupBroadcast(w${p}, ${i}u);
#for e in 0..4
#for w in 0..VECS
      x${p * SUBGROUP + i}_${w} = fma(vec4f(w${p}_${i}[${e}]), z${e}_${w}, x${p * SUBGROUP + i}_${w});
#end
#end
#if PASS == 3
      let g${p}_${i} = subgroupBroadcast(g${p}, ${i}u);
#for e in 0..4
#for w in 0..VECS
      y${p * SUBGROUP + i}_${w} = fma(vec4f(g${p}_${i}[${e}]), h${e}_${w}, y${p * SUBGROUP + i}_${w});
#end
#end
#end
#end
#end
    }
  }
#if PASS == 3
  }
#end

  let rows_end = min(row0 + ${ROWS}u, params.length);
  for (var row = row0; row < rows_end; row += ${STRIP}u) {
#for i in 0..STRIP
#if PASS == 0
    let sum${i} = subgroupAdd(total${i});
#end
    if (row + ${i}u <= last) {
#if PASS == 3
      let place = at(batch, params.kv_heads, kv_head, row + ${i}u) + lane;
#else
      let place = at(batch, params.heads, head, row + ${i}u) + lane;
#end
#for w in 0..VECS
#if PASS == 0
      o[place + ${w * SUBGROUP}u] = x${i}_${w} / sum${i};
#end
#if PASS == 2
      d_q[place + ${w * SUBGROUP}u] = x${i}_${w};
#end
#if PASS == 3
      d_k[place + ${w * SUBGROUP}u] = y${i}_${w};
      d_v[place + ${w * SUBGROUP}u] = x${i}_${w};
#end
#end
#if PASS == 0
      if (lane == 0u) {
        lse[stat0 + row + ${i}u] = top${i} + log(sum${i});
      }
#end
    }
#end
#for i in 0..ROWS - STRIP
#for w in 0..VECS
    x${i}_${w} = x${i + STRIP}_${w};
#if PASS == 3
    y${i}_${w} = y${i + STRIP}_${w};
#end
#end
#if PASS == 0
    top${i} = top${i + STRIP};
    total${i} = total${i + STRIP};
#end
#end
  }
}
