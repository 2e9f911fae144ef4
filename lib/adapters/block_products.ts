/**
 * Products of block-wise adapters: A is split into column blocks A_k, B into row blocks B_j, x into segments
 * x_k.
 */

import type { Tensor } from "../graph/graph.ts";
import { matmul } from "../graph/ops/product/product.ts";

/** U_k = A_k x_k: x [T, n], A [r, n] → [T, b·r]. */
export function project(x: Tensor, A: Tensor, blocks: number): Tensor {
  return matmul(x, A, {
    transposeB: true,
    blocks,
    splits: { a: "columns", b: "columns", out: "columns" },
  });
}

/** y_j = scale·B_j V_j + base_j: V [T, b·r], B [m, r], base [T, m] → [T, m]. */
export function expand(v: Tensor, B: Tensor, blocks: number, scale: number, base?: Tensor): Tensor {
  return matmul(v, B, {
    transposeB: true,
    blocks,
    scale,
    residual: base,
    splits: { a: "columns", b: "rows", out: "columns" },
  });
}
