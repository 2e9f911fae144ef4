/**
 * MELoRA (Ren et al. 2024; follows ChasonShi/MELoRA `tuners/melora.py`): b mini-LoRAs on the block diagonal.
 *
 *     y_j = W_j x + bias_j + s·B_j A_j dropout(x_j),   ΔW = s·blockdiag(B_j A_j),   s = α/r, r each mini's rank
 *
 * A: r×n holds A_j in column block j, Kaiming uniform (a = √5) with each mini's own fan n/b; B: m×r holds B_j
 * in row block j, zeros. Trainable parameters: (m + n)r. Rank: up to b·r. In BoRA's terms Σ_jj = I and
 * Σ_jk = 0 for j ≠ k. Mergeable.
 */

import type { LinearModule } from "../models/model.ts";
import { zeros } from "../models/parameter.ts";
import { expand, project } from "./block_products.ts";
import { resolveBlocks } from "./blocks.ts";
import {
  blockDefaults,
  type BlockOptions,
  checkLowRank,
  type Method,
  productCost,
  scaleOf,
  throughHalves,
} from "./method.ts";

/** b; "auto" chooses it so that each mini-LoRA's dimensions are at least its rank. */
function blocksOf(module: LinearModule, { r, blocks }: BlockOptions): number {
  return resolveBlocks(module, blocks, (b) => Math.min(module.m, module.n) / b >= r);
}

/**
 * MELoRA (Ren et al. 2024): `blocks` mini-LoRAs of rank r each on the block diagonal, ΔW = s·blockdiag(B_j
 * A_j).
 */
export const melora: Method<BlockOptions> = {
  name: "MELoRA",
  summary: "y_j = W_j x + s·B_j A_j x_j, j = 1 … b (Ren et al. 2024)",
  trainsBase: false,
  defaults: blockDefaults,
  auto: ["blocks"],
  parameters(module, options) {
    const [b, { r }] = [blocksOf(module, options), options];
    checkLowRank(module, options, Math.min(module.m, module.n) / b);
    return {
      A: { shape: [r, module.n], init: { kind: "kaiming", fan: module.n / b } },
      B: { shape: [module.m, r], init: zeros },
    };
  },
  ...throughHalves<BlockOptions>({
    down: ({ dropped, parameters: { A }, module, options }) => project(dropped, A, blocksOf(module, options)),
    up: ({ parameters: { B }, module, options }, v, base) =>
      expand(v, B, blocksOf(module, options), scaleOf(options), base?.()),
  }),
  cost: ({ m, n }, { r }) => productCost((m + n) * r),
  peft: {
    type: "MELORA",
    keys: { A: "melora_A.weight", B: "melora_B.weight" },
    fields: { r: "r", alpha: "lora_alpha", dropout: "lora_dropout", blocks: "num_blocks" },
  },
};
