// A lane's sums s0_0, s0_1, … for TILE_M×TILE_N of C = A · op(B) of product P, over the runs of k that are its own (all with SHARE). Around it are
// declared: the lane and the number of `runs`; the places a0, b0, row0 and col0; the leading dimensions `lead` and `b_lead`; the
// `columns`; and load_runP and integers_ofP (RUN 1 and 2), or load_bP (RUN 0). See matmul_lanes.wgsl.
#for i in 0..TILE_M
  let a_row${i} = (a0 + min(row0 + ${i}u, params.m - 1u) * lead) / ${4 * QUADS}u;
#end
#if TRANS_B
#for j in 0..TILE_N
  let b_row${j} = (b0 + min(col0 + ${j}u, columns - 1u) * b_lead) / ${4 * QUADS}u;
#end
#else
  let b_step = b_lead / 4u;
#for l in 0..TILE_N / 4
  let b_col${l} = (b0 + min(col0 + ${4 * l}u, columns - 4u)) / 4u;
#end
#end
#for i in 0..TILE_M
#for j in 0..TILE_N
  var s${i}_${j} = 0.0;
#end
#end

#if SHARE
  for (var run = 0u; run < runs; run++) {
#for i in 0..TILE_M
#for l in 0..(QUADS + SHARE - 1) / SHARE
    let own${l}_${i} = a[(a_row${i} + run) * ${QUADS}u + min(${l * SHARE}u + lane, ${QUADS - 1}u)];
#end
#end
#else
  for (var run = lane; run < runs; run += ${LANES}u) {
#end
#if RUN == 2
#for i in 0..TILE_M
    var a_sum${i} = 0.0;
#end
#end
#if RUN
#for j in 0..TILE_N
    let run${j} = load_run${P}(b_row${j} + run);
#for i in 0..TILE_M
    var s${i}_${j}_of_run = 0.0;
#end
#end
#end
#for p in 0..QUADS
#for i in 0..TILE_M
#if SHARE
    let a${p}_${i} = subgroupBroadcast(own${p / SHARE}_${i}, ${p % SHARE}u);
#else
    let a${p}_${i} = a[(a_row${i} + run) * ${QUADS}u + ${p}u];
#end
#if RUN == 2
    a_sum${i} += (a${p}_${i}.x + a${p}_${i}.y) + (a${p}_${i}.z + a${p}_${i}.w);
#end
#end
#if TRANS_B
#for j in 0..TILE_N
#if RUN
    let b${p}_${j} = integers_of${P}(run${j}, ${p}u);
#for e in 0..4
#for i in 0..TILE_M
    s${i}_${j}_of_run = fma(a${p}_${i}[${e}], b${p}_${j}[${e}], s${i}_${j}_of_run);
#end
#end
#else
    let b${p}_${j} = load_b${P}((b_row${j} + run) * ${QUADS}u + ${p}u);
#for e in 0..4
#for i in 0..TILE_M
    s${i}_${j} = fma(a${p}_${i}[${e}], b${p}_${j}[${e}], s${i}_${j});
#end
#end
#end
#end
#else
#for e in 0..4
#for l in 0..TILE_N / 4
    let b${e}_${l} = load_b${P}(b_col${l} + (run * 4u + ${e}u) * b_step);
#for c in 0..4
#for i in 0..TILE_M
    s${i}_${4 * l + c} = fma(a${p}_${i}[${e}], b${e}_${l}[${c}], s${i}_${4 * l + c});
#end
#end
#end
#end
#end
#end
#if RUN
#for i in 0..TILE_M
#for j in 0..TILE_N
    s${i}_${j} = fma(s${i}_${j}_of_run, run${j}.scale, s${i}_${j});
#if RUN == 2
    s${i}_${j} = fma(a_sum${i}, run${j}.start, s${i}_${j});
#end
#end
#end
#end
  }
