/**
 * LoRA (Hu et al. 2022, arXiv 2106.09685; follows PEFT's `tuners/lora/layer.py`).
 *
 *     y = W x + bias + s·B A dropout(x),   s = α/r
 *
 * A: r×n, Kaiming uniform (a = √5, fan n); B: m×r, zeros, so a fresh adapter changes nothing. Trainable: (m + n)r.
 * Merges: W + s·BA.
 */

import { linear, matmul } from "../graph/ops/matmul.ts";
import { checkRank, type Method, scaleOf } from "./method.ts";

export const lora: Method = {
  name: "LoRA",
  summary: "y = W x + s·B A x (Hu et al. 2022)",
  trainsBase: false,
  reads: ["r", "alpha", "dropout"],
  parameters(module, options) {
    checkRank(module, options);
    return {
      A: { shape: [options.r, module.n], init: { kind: "kaiming", fan: module.n } },
      B: { shape: [module.m, options.r], init: { kind: "zeros" } },
    };
  },
  forward({ dropped, parameters: { A, B }, options, base }) {
    return linear(linear(dropped, A), B, { scale: scaleOf(options), residual: base() });
  },
  delta({ parameters: { A, B }, options }) {
    return matmul(B, A, { scale: scaleOf(options) });
  },
  multiplyAdds: ({ m, n }, { r }) => (m + n) * r,
};
