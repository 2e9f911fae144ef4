/**
 * GraLoRA (Jung et al. 2025; follows PEFT's `tuners/gralora/layer.py`, with its tensor layout): b×b blocks of
 * rank r/b each.
 *
 *     ΔW_jk = s·B_j[:, chunk k] · A_k[chunk j, :],   s = α/r,   chunks of r/b ranks
 *
 * A: b×(n/b)×r holds the A_kᵀ, Kaiming uniform (a = √5, fan n/b); B: b×r×(m/b) holds the B_jᵀ, zeros. In
 * BoRA's terms (up to the order of the ranks), Σ is fixed to zeros and ones that give each block pair its own
 * r/b ranks. Trainable parameters: (m + n)r, as in LoRA. Rank: up to min(m, n, b·r). Mixing the blocks is a
 * permutation and needs no multiplications. Mergeable.
 */

import { reshape, swapAxes } from "../graph/ops/layout.ts";
import { matmul } from "../graph/ops/product/product.ts";
import { zeros } from "../models/parameter.ts";
import { resolveBlocks } from "./blocks.ts";
import {
  type BlockOptions,
  checkLowRank,
  lowRankDefaults,
  type Method,
  productCost,
  scaleOf,
  throughHalves,
} from "./method.ts";

/** Every product here is block-wise. */
const splits = { a: "columns", b: "rows", out: "columns" } as const;

/**
 * GraLoRA (Jung et al. 2025): b×b blocks, each with its own r/b of the ranks, and as many parameters as LoRA.
 * `blocks` must divide r and both dimensions of every target layer.
 */
export const graLora: Method<BlockOptions> = {
  name: "GraLoRA",
  summary: "ΔW_jk = s·B_j[:, chunk k] A_k[chunk j, :] (Jung et al. 2025)",
  trainsBase: false,
  defaults: { ...lowRankDefaults, blocks: 2 },
  auto: ["blocks"],
  parameters(module, options) {
    checkLowRank(module, options, Infinity);
    const { r, blocks } = options;
    const [{ m, n }, b] = [module, resolveBlocks(module, blocks, (b) => r % b === 0)];
    if (r % b !== 0) throw new Error(`rank ${r} is not a multiple of ${b} blocks: change one of them`);
    return {
      A: { shape: [b, n / b, r], init: { kind: "kaiming", fan: n / b } },
      B: { shape: [b, r, m / b], init: zeros },
    };
  },
  ...throughHalves<BlockOptions>({
    down({ dropped, parameters: { A } }) {
      const [b, segment, r] = A.shape;
      const u = matmul(dropped, reshape(A, [b * segment, r]), { blocks: b, splits });
      return swapAxes(u, { p: b, q: b, width: r / b }, u.shape);
    },
    up({ parameters: { B }, options }, v, base) {
      const [b, r, rows] = B.shape;
      const scale = scaleOf(options);
      return matmul(v, reshape(B, [b * r, rows]), { blocks: b, splits, scale, residual: base?.() });
    },
  }),
  cost: ({ m, n }, { r }) => productCost((m + n) * r),
  peft: {
    type: "GRALORA",
    patterns: [],
    keys: { A: "gralora_A", B: "gralora_B" },
    fields: { r: "r", alpha: "alpha", dropout: "gralora_dropout", blocks: "gralora_k" },
  },
};
