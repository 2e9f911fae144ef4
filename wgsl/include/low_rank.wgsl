// An adapter's part of a layer's product, added to the tile before the epilogue: C += low_rank_scale · V L. V
// is m×(b·rank); L is rank×n (LOW_RANK 2), or stored transposed as n×rank (LOW_RANK 1). C's columns form b
// blocks of block_cols, and each block has `rank` columns of V. This is y = W x + s·B V of LoRA (b = 1) and
// BoRA, and the same in dx = Wᵀ G + Aᵀ dU. rank is a multiple of 4.
//
// The tile has ROWS rows, row_of0, row_of1, …, and QUADS quads of columns, which start at col_of0, col_of1,
// …. block_cols is a multiple of 16, so adjacent columns of a tile are in one block; with SPREAD 1 a tile
// spans several blocks.

#for i in 0..ROWS
  let v_row${i} = min(row_of${i}, params.m - 1u) * params.ld_v;
#end
#for g in 0..1 + SPREAD * (QUADS - 1)
  let v_block${g} = min(col_of${g}, params.n - 1u) / params.block_cols * params.rank;
#end
  for (var u = 0u; u < params.rank; u += 4u) {
#for q in 0..QUADS
#if LOW_RANK == 1
#for e in 0..4
    let lt${q}_${e} = low[(min(col_of${q} + ${e}u, params.n - 1u) * params.rank + u) / 4u];
#end
#for e in 0..4
    let l${e}_${q} = vec4f(lt${q}_0[${e}], lt${q}_1[${e}], lt${q}_2[${e}], lt${q}_3[${e}]);
#end
#else
#for e in 0..4
    let l${e}_${q} = low[((u + ${e}u) * params.n + min(col_of${q}, params.n - 4u)) / 4u];
#end
#end
#end
#for i in 0..ROWS
#for g in 0..1 + SPREAD * (QUADS - 1)
    let v${i}_${g} = v[(v_row${i} + v_block${g} + u) / 4u] * params.low_rank_scale;
#end
#for e in 0..4
#for q in 0..QUADS
    c${i}_${q} = fma(vec4f(v${i}_${q * SPREAD}[${e}]), l${e}_${q}, c${i}_${q});
#end
#end
#end
  }
