/**
 * HydraLoRA (Tian et al. 2024, arXiv 2404.19245; follows Clin0212/HydraLoRA `peft/tuners/lora.py`): one A and
 * E experts B_e, mixed per token by a router.
 *
 *     y = W x + bias + s·Σ_e ω_e(x) B_e A dropout(x),   ω = softmax(W_g x),   s = α/r
 *
 * A: r×n and the router W_g: E×n (no bias), Kaiming uniform (a = √5, fan n); B: m×(E·r) holds the B_e side by
 * side, zeros. The router sees x without dropout. All experts share one dropout mask; the reference draws one
 * for each. Trainable parameters: nr + Emr + En. Not mergeable, since the update depends on the input.
 */

import { gate } from "../graph/ops/gate.ts";
import { linear } from "../graph/ops/product/product.ts";
import { softmaxRows } from "../graph/ops/softmax_rows.ts";
import { zeros } from "../models/parameter.ts";
import {
  checkLowRank,
  lowRankDefaults,
  type LowRankOptions,
  type Method,
  productCost,
  scaleOf,
} from "./method.ts";

/** Hyperparameters of HydraLoRA. */
export interface HydraLoraOptions extends LowRankOptions {
  /** Number of experts E. */
  readonly experts: number;
}

/** Throws an Error unless the number of experts is a positive integer. */
export function checkExperts(experts: number): void {
  if (!Number.isInteger(experts) || experts < 1) {
    throw new Error(`${experts} experts: use a whole number from 1`);
  }
}

/**
 * HydraLoRA (Tian et al. 2024): one shared A and `experts` matrices B, mixed per token by a router. Not
 * mergeable.
 */
export const hydraLora: Method<HydraLoraOptions> = {
  name: "HydraLoRA",
  summary: "y = W x + s·Σ_e softmax(W_g x)_e B_e A x (Tian et al. 2024)",
  trainsBase: false,
  defaults: { ...lowRankDefaults, experts: 3 },
  parameters(module, options) {
    checkLowRank(module, options);
    const { r, experts } = options;
    checkExperts(experts);
    return {
      A: { shape: [r, module.n], init: { kind: "kaiming", fan: module.n } },
      B: { shape: [module.m, experts * r], init: zeros },
      router: { shape: [experts, module.n], init: { kind: "kaiming", fan: module.n } },
    };
  },
  forward({ x, dropped, parameters: { A, B, router }, options, base }) {
    const weights = softmaxRows(linear(x, router));
    const gated = gate(weights, linear(dropped, A), true);
    return linear(gated, B, { scale: scaleOf(options), residual: base() });
  },
  mergeable: false,
  cost: ({ m, n }, { r, experts }) => productCost(n * r + experts * (n + r + m * r)),
  peft: {
    type: "HYDRALORA",
    keys: { A: "lora_A.weight", B: "lora_B.weight", router: "lora_route.weight" },
    fields: { r: "r", alpha: "lora_alpha", dropout: "lora_dropout", experts: "lora_nums" },
  },
};
