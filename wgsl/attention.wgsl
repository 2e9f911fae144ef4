// Masked multi-head attention without a tokens×tokens tensor in memory (online softmax, Milakov & Gimelshein
// 2018; backward from the row's log-sum-exp, Dao et al. 2022). All matrices are row-major: q and o are
// (batch·length)×(heads·HEAD_DIM), k and v (batch·length)×(kv_heads·HEAD_DIM). heads/kv_heads neighbouring
// query heads share a key head (grouped-query attention, Ainslie et al. 2023). `lengths` holds each text's
// number of real tokens, which come first. Keys past it are masked; if CAUSAL is 1 or 2, so are keys past the
// query's own position, and if it is 2, those `window` or more positions before it, but
// for the text's last token, so that a padding row has a key as well.
//
// PASS 0, one invocation per query row i:  o_i = Σ_j p_ij v_j,  p_ij = softmax_j(scale · q_i·k_j),
//   lse_i = log Σ_j exp(…)
// PASS 1, one invocation per query row i:  δ_i = do_i·o_i, stored next to lse_i in `rows`
// PASS 2, one invocation per query row i:  dq_i = scale Σ_j p_ij (do_i·v_j − δ_i) k_j
// PASS 3, one invocation per key row j:    dv_j = Σ_i p_ij do_i,  dk_j = scale Σ_i p_ij (do_i·v_j − δ_i) q_i,
//   over all query heads of the key head
//
// Grid: x over rows (WORKGROUP per group), y over query heads (PASS 3: key heads), z over the batch. lse and
// rows are batch×heads×length. Each invocation keeps its rows in registers. Sums run in order of j or i: same
// bits every run. PASS 1 is separate because a kernel can bind only 8 storage buffers at WebGPU's default
// limits, and PASS 3 binds 8.

#include "attention.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  let head = id.y;
  let batch = id.z;
  if (row >= params.length) {
    return;
  }
#if PASS == 3
  let own = at(batch, params.kv_heads, head, row);
  let shared_by = params.heads / params.kv_heads;
#else
  let own = at(batch, params.heads, head, row);
  let stat0 = (batch * params.heads + head) * params.length;
#end
#if PASS == 0 || PASS == 2
  let kv_head = head * params.kv_heads / params.heads;
#end
#if CAUSAL && (PASS == 0 || PASS == 2)
  let keys = min(lengths[batch], row + 1u);
#if CAUSAL == 2
  let first = min(max(row + 1u, params.window) - params.window, lengths[batch] - 1u);
#end
#end
#if PASS == 3 || (!CAUSAL && PASS != 1)
  let keys = lengths[batch];
#end

#if PASS == 0
#for c in 0..HEAD_DIM / 4
  let q${c} = q[own + ${c}u] * params.scale;
  var o${c} = vec4f(0.0);
#end
  var top = -3.0e38;
  var total = 0.0;
#if CAUSAL == 2
  for (var j = first; j < keys; j++) {
#else
  for (var j = 0u; j < keys; j++) {
#end
    let other = at(batch, params.kv_heads, kv_head, j);
    var dots = vec4f(0.0);
#for c in 0..HEAD_DIM / 4
    dots = fma(q${c}, k[other + ${c}u], dots);
#end
    let score = dots.x + dots.y + dots.z + dots.w;
    let new_top = max(top, score);
    let shrink = exp(top - new_top);
    let p = exp(score - new_top);
    top = new_top;
    total = total * shrink + p;
#for c in 0..HEAD_DIM / 4
    o${c} = fma(vec4f(p), v[other + ${c}u], o${c} * shrink);
#end
  }
#for c in 0..HEAD_DIM / 4
  o[own + ${c}u] = o${c} / total;
#end
  lse[stat0 + row] = top + log(total);
#end

#if PASS == 1
  var products = vec4f(0.0);
#for c in 0..HEAD_DIM / 4
  products = fma(d_o[own + ${c}u], o[own + ${c}u], products);
#end
  rows[stat0 + row] = vec2f(lse[stat0 + row], products.x + products.y + products.z + products.w);
#end

#if PASS == 2
#for c in 0..HEAD_DIM / 4
  let q${c} = q[own + ${c}u] * params.scale;
  let do${c} = d_o[own + ${c}u];
  var dq${c} = vec4f(0.0);
#end
  let own_row = rows[stat0 + row];
#if CAUSAL == 2
  for (var j = first; j < keys; j++) {
#else
  for (var j = 0u; j < keys; j++) {
#end
    let other = at(batch, params.kv_heads, kv_head, j);
    var dots = vec4f(0.0);
    var dps = vec4f(0.0);
#for c in 0..HEAD_DIM / 4
    dots = fma(q${c}, k[other + ${c}u], dots);
    dps = fma(do${c}, v[other + ${c}u], dps);
#end
    let p = exp(dots.x + dots.y + dots.z + dots.w - own_row.x);
    let ds = p * (dps.x + dps.y + dps.z + dps.w - own_row.y) * params.scale;
#for c in 0..HEAD_DIM / 4
    dq${c} = fma(vec4f(ds), k[other + ${c}u], dq${c});
#end
  }
#for c in 0..HEAD_DIM / 4
  d_q[own + ${c}u] = dq${c};
#end
#end

#if PASS == 3
#for c in 0..HEAD_DIM / 4
  let k${c} = k[own + ${c}u] * params.scale;
  let v${c} = v[own + ${c}u];
  var dk${c} = vec4f(0.0);
  var dv${c} = vec4f(0.0);
#end
  if (row < keys) {
    for (var q_head = head * shared_by; q_head < (head + 1u) * shared_by; q_head++) {
      let stat0 = (batch * params.heads + q_head) * params.length;
#if CAUSAL == 1
      for (var i = row; i < params.length; i++) {
#end
#if CAUSAL == 2
      let last = select(min(row + params.window, params.length), params.length, row + 1u == keys);
      for (var i = row; i < last; i++) {
#end
#if !CAUSAL
      for (var i = 0u; i < params.length; i++) {
#end
        let other = at(batch, params.heads, q_head, i);
        let row_i = rows[stat0 + i];
        var dots = vec4f(0.0);
        var dps = vec4f(0.0);
#for c in 0..HEAD_DIM / 4
        dots = fma(k${c}, q[other + ${c}u], dots);
        dps = fma(v${c}, d_o[other + ${c}u], dps);
#end
        let p = exp(dots.x + dots.y + dots.z + dots.w - row_i.x);
        let ds = p * (dps.x + dps.y + dps.z + dps.w - row_i.y) * params.scale;
#for c in 0..HEAD_DIM / 4
        dk${c} = fma(vec4f(ds), q[other + ${c}u], dk${c});
        dv${c} = fma(vec4f(p), d_o[other + ${c}u], dv${c});
#end
      }
    }
  }
#for c in 0..HEAD_DIM / 4
  d_k[own + ${c}u] = dk${c};
  d_v[own + ${c}u] = dv${c};
#end
#end
}
