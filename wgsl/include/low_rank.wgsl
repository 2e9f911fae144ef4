// An adapter's part of a layer's product, added to the tile before the epilogue: C += low_rank_scale · V L, where V is m×(b·rank)
// and L is rank×n (LOW_RANK 2) or its transpose's n×rank (LOW_RANK 1). C's columns are in b blocks of block_cols, and each block
// has `rank` columns of V: y = W x + s·B V of LoRA (b = 1) and BoRA, and the same of dx = Wᵀ G + Aᵀ dU. rank is a multiple of 4.
//
// The tile has ROWS rows, row_of0 and on, and QUADS times 4 columns, from col_of0, col_of1 … on; block_cols is a multiple of 16, so
// that columns of one tile that follow each other are in one block; with SPREAD 1 they are in more.

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
