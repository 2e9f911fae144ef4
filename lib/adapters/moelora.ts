/**
 * MoELoRA (Luo et al. 2024, arXiv 2402.12851, the mixture that BoRA's related work describes; the rank is
 * divided among the experts as in Liu et al. 2024, liuqidong07/MOELoRA-peft): E small LoRAs, mixed per token
 * by a router.
 *
 *     y = W x + bias + s·Σ_e ω_e(x) B_e A_e dropout(x),   ω = softmax(W_g x),   s = α/r, each expert's rank r/E
 *     training adds the load-balance loss  λ·E·Σ_e P_e²,  P_e the mean over texts of a text's mean ω_e
 *
 * The loss is smallest when all experts are used equally. In the epoch's one batch that is not full, the first
 * example stands in the empty places and counts each time. A: r×n holds the A_e stacked, W_g: E×n, both
 * Kaiming uniform (a = √5, fan n); B: m×r holds the B_e side by side, zeros. There is no top-k: with few
 * experts, all of them are computed, and the mixture stays differentiable. Trainable parameters:
 * (m + n)r + En. Not mergeable, since the update depends on the input.
 */

import type { Tensor } from "../graph/graph.ts";
import { columnSum } from "../graph/ops/column_sum.ts";
import { gate } from "../graph/ops/gate.ts";
import { linear } from "../graph/ops/product/product.ts";
import { meanPool } from "../graph/ops/mean_pool.ts";
import { softmaxRows } from "../graph/ops/softmax_rows.ts";
import { sumOfSquares } from "../graph/ops/sum_of_squares.ts";
import { checkExperts, type HydraLoraOptions } from "./hydralora.ts";
import {
  checkLowRank,
  lowRankDefaults,
  lowRankFactors,
  type Method,
  productCost,
  scaleOf,
} from "./method.ts";

/** Hyperparameters of MoELoRA. r is the rank of all experts together, so `experts` must divide it. */
export interface MoeLoraOptions extends HydraLoraOptions {
  /** Weight λ of the load-balance loss; 0 disables it. */
  readonly balance: number;
}

/** The loss λ·E·Σ_e P_e²: weights [T, E] → [1]. */
function balanceLoss(weights: Tensor, lengths: Tensor | undefined, balance: number): Tensor {
  const ofTexts = lengths ? meanPool(weights, lengths) : weights;
  const [texts, experts] = ofTexts.shape;
  return sumOfSquares(columnSum(ofTexts), balance * experts / texts ** 2);
}

/**
 * MoELoRA (Luo et al. 2024): `experts` LoRAs of rank r/experts, mixed per token by a router. Not mergeable.
 */
export const moeLora: Method<MoeLoraOptions> = {
  name: "MoELoRA",
  summary: "y = W x + s·Σ_e softmax(W_g x)_e B_e A_e x (Luo et al. 2024)",
  trainsBase: false,
  defaults: { ...lowRankDefaults, experts: 4, balance: 0.01 },
  parameters(module, options) {
    checkLowRank(module, options);
    const { r, experts, balance } = options;
    checkExperts(experts);
    if (r % experts !== 0) {
      throw new Error(`rank ${r} is not a multiple of ${experts} experts: change one of them`);
    }
    if (!(balance >= 0)) {
      throw new Error(`balance ${balance}: use a number from 0; 0 turns the load-balance loss off`);
    }
    return {
      ...lowRankFactors(module, r),
      router: { shape: [experts, module.n], init: { kind: "kaiming", fan: module.n } },
    };
  },
  forward({ x, dropped, parameters: { A, B, router }, options, lengths, base, addLoss }) {
    const weights = softmaxRows(linear(x, router));
    if (options.balance > 0) addLoss(balanceLoss(weights, lengths, options.balance));
    const gated = gate(weights, linear(dropped, A), false);
    return linear(gated, B, { scale: scaleOf(options), residual: base() });
  },
  mergeable: false,
  cost: ({ m, n }, { r, experts }) => productCost((m + n) * r + experts * n + r),
  peft: {
    type: "MOELORA",
    keys: { A: "lora_A.weight", B: "lora_B.weight", router: "lora_route.weight" },
    fields: {
      r: "r",
      alpha: "lora_alpha",
      dropout: "lora_dropout",
      experts: "expert_num",
      balance: "load_balance",
    },
  },
};
