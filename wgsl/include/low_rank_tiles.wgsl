// The term of low_rank.wgsl through the tiles of matmul_workgroup.wgsl: C += low_rank_scale · V L, with V as more columns
// of A and L as more rows of B. V differs from block to block of columns, so the blocks that the tile spans take
// turns; a quad of columns lies in one block. In order of the rank: the bits of low_rank.wgsl.
//
// LOW_RANK 1: L is stored n×rank; 2: rank×n.

#for q in 0..PER_N / 4
  let own_block${q} = min(col_of${q}, params.n - 1u) / params.block_cols;
#end
  let last_block = min(col0 + ${TILE_N - 1}u, params.n - 1u) / params.block_cols;
  for (var of_v = col0 / params.block_cols; of_v <= last_block; of_v += 1u) {
    for (var u0 = 0u; u0 < params.rank; u0 += ${TILE_K}u) {
      let last_u = params.rank - u0 - 1u;
#for p in 0..TILE_M * TILE_K / (4 * THREADS)
      let v_new${p} = v[(min(row0 + a_row + ${p * THREADS / TILE_K * 4}u, params.m - 1u) * params.ld_v + of_v * params.rank + u0) / 4u + min(a_to, last_u / 4u)] * params.low_rank_scale;
#for e in 0..4
      a_tile[a_to][${e}][a_quad${p}][a_part] = Scalar(v_new${p}[${e}]);
#end
#end
      // A block of L, four columns by four of the rank, each.
      if (lane < ${TILE_N / 4 * (TILE_K / 4)}u) {
        let l_col = min(col0 + lane % ${TILE_N / 4}u * 4u, params.n - 4u);
        let l_u = lane / ${TILE_N / 4}u * 4u;
        let l_at = u0 + min(l_u, last_u - 3u);
#for e in 0..4
#if LOW_RANK == 1
        let l_along${e} = low[((l_col + ${e}u) * params.rank + l_at) / 4u];
#else
        let l_new${e} = low[((l_at + ${e}u) * params.n + l_col) / 4u];
#end
#end
#for e in 0..4
#if LOW_RANK == 1
        let l_new${e} = vec4f(l_along0[${e}], l_along1[${e}], l_along2[${e}], l_along3[${e}]);
#end
#if TRANS_B
        b_tile[l_u / 4u][${e}][lane % ${TILE_N / 4}u] = Turned(Scalar(l_new${e}.x), Scalar(l_new${e}.y), Scalar(l_new${e}.z), Scalar(l_new${e}.w));
#else
        b_tile[l_u + ${e}u][lane % ${TILE_N / 4}u] = Quad(l_new${e});
#end
#end
      }
      workgroupBarrier();
      for (var u = 0u; u <= min(last_u, ${TILE_K - 1}u); u += 1u) {
#for p in 0..PER_M / 4
        let v_${p} = a_from_tile(u, row_quad + ${p * (TILE_M / PER_M)}u);
#end
#for q in 0..PER_N / 4
        if (own_block${q} == of_v) {
          let l_${q} = b_from_tile(u, col_quad + ${q * (TILE_N / PER_N)}u);
#for i in 0..PER_M
          c${i}_${q} = fma(vec4f(v_${i / 4}[${i % 4}]), l_${q}, c${i}_${q});
#end
        }
#end
      }
      workgroupBarrier();
    }
  }
