/**
 * HiRA: Hadamard High-Rank Adaptation (Huang et al. 2025; follows hqsiswiliam/hira and PEFT's `tuners/hira`).
 *
 *     y = (W ⊙ (1 + BA)) x + bias      with dropout:  y = W x + bias + (W ⊙ BA) dropout(x)
 *
 * A: r×n, Kaiming uniform (a = √5, fan n); B: m×r, zeros. There is no α. Trainable parameters: (m + n)r. Rank
 * of the update: up to r·rank(W). W ⊙ BA is computed once per step. Its gradient costs as much as in full
 * fine-tuning, and with dropout the layer needs two products instead of one, forward and backward. Mergeable.
 */

import { add, multiply } from "../graph/ops/binary.ts";
import { linear, matmul } from "../graph/ops/product/product.ts";
import { type AdapterOptions, checkRank, lowRankFactors, type Method } from "./method.ts";

/** Hyperparameters of HiRA. There is no α. */
export interface HiraOptions extends AdapterOptions {
  /** Rank r of BA: an integer from 1. */
  readonly r: number;
  /** Dropout rate on the adapter's input during training, in [0, 1). */
  readonly dropout: number;
}

/**
 * HiRA (Huang et al. 2025): the elementwise product of W with a low-rank matrix, ΔW = W ⊙ BA. There is no α.
 */
export const hira: Method<HiraOptions> = {
  name: "HiRA",
  summary: "y = (W ⊙ (1 + BA)) x (Huang et al. 2025)",
  trainsBase: false,
  readsBase: true,
  defaults: { r: 8, dropout: 0 },
  parameters(module, { r }) {
    checkRank(module, r, Infinity);
    return lowRankFactors(module, r);
  },
  forward({ x, dropped, weight, bias, residual, parameters: { A, B }, base }) {
    const update = multiply(matmul(B, A), weight);
    return x === dropped
      ? linear(x, add(update, weight), { bias, residual })
      : linear(dropped, update, { residual: base() });
  },
  mergeable: true,
  cost({ m, n }, { r, dropout }) {
    const second = dropout > 0 ? m * n : 0;
    return { forward: second, backward: m * n + second, step: 3 * m * n * r + 3 * m * n };
  },
  peft: {
    type: "HIRA",
    patterns: [],
    ranksOfTensors: true,
    keys: { A: "hira_A", B: "hira_B" },
    fields: { r: "r", dropout: "hira_dropout" },
  },
};
