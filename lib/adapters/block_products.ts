/** The products that MELoRA and BoRA share: A split in column blocks A_k, B in row blocks B_j, x in segments x_k. */

import type { Tensor } from "../graph/graph.ts";
import { boraMix } from "../graph/ops/bora.ts";
import { matmul } from "../graph/ops/matmul.ts";

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

/**
 * ΔW [m, n] = scale·[B_j Σ_jk A_k], by pushing the n unit vectors through the adapter: row i of the identity gives
 * column i of ΔW. Σ [b, b, r]; undefined stands for Σ_jj = I, Σ_jk = 0.
 */
export function blockDelta(
  B: Tensor,
  A: Tensor,
  diagonal: Tensor | undefined,
  blocks: number,
  scale: number,
): Tensor {
  const n = A.shape[1];
  const identity = A.node.graph.input(`identity ${n}`, [n, n]);
  const u = project(identity, A, blocks);
  const columns = expand(diagonal ? boraMix(u, diagonal) : u, B, blocks, scale);
  return matmul(columns, identity, { transposeA: true });
}
