/**
 * MELoRA (Ren et al. 2024; follows ChasonShi/MELoRA `tuners/melora.py`): b mini-LoRAs side by side.
 *
 *     y_j = W_j x + bias_j + s·B_j A_j dropout(x_j),   ΔW = s·blockdiag(B_j A_j),   s = α/r, r each mini's rank
 *
 * A: r×n holds A_j in column block j, Kaiming uniform (a = √5) with the minis' own fan n/b; B: m×r holds B_j in row
 * block j, zeros. Trainable: (m + n)r, rank up to b·r. In BoRA's terms Σ_jj = I and Σ_jk = 0. Merges.
 */

import { resolveBlocks } from "./blocks.ts";
import { blockDelta, expand, project } from "./block_products.ts";
import { checkRank, type Method, scaleOf } from "./method.ts";

export const melora: Method = {
  name: "MELoRA",
  summary: "y_j = W_j x + s·B_j A_j x_j, j = 1 … b (Ren et al. 2024)",
  trainsBase: false,
  reads: ["r", "alpha", "dropout", "blocks"],
  parameters(module, options) {
    const b = resolveBlocks(module, options.blocks);
    checkRank({ ...module, m: module.m / b, n: module.n / b }, options);
    return {
      A: { shape: [options.r, module.n], init: { kind: "kaiming", fan: module.n / b } },
      B: { shape: [module.m, options.r], init: { kind: "zeros" } },
    };
  },
  forward({ dropped, parameters: { A, B }, module, options, base }) {
    const b = resolveBlocks(module, options.blocks);
    return expand(project(dropped, A, b), B, b, scaleOf(options), base());
  },
  delta({ parameters: { A, B }, module, options }) {
    const b = resolveBlocks(module, options.blocks);
    return blockDelta(B, A, undefined, b, scaleOf(options));
  },
  multiplyAdds: ({ m, n }, { r }) => (m + n) * r,
};
