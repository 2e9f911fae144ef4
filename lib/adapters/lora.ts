/**
 * LoRA (Hu et al. 2022, arXiv 2106.09685; follows PEFT's `tuners/lora/layer.py`), and rsLoRA (Kalajdzievski
 * 2023, arXiv 2312.03732), which scales by α/√r.
 *
 *     y = W x + bias + s·B A dropout(x),   s = α/r
 *
 * A: r×n, Kaiming uniform (a = √5, fan n); B: m×r, zeros, so a new adapter changes nothing. Trainable
 * parameters: (m + n)r. Mergeable: W + s·BA.
 */

import { linear } from "../graph/ops/product/product.ts";
import {
  checkLowRank,
  lowRankDefaults,
  lowRankFactors,
  type LowRankOptions,
  type Method,
  productCost,
  scaleOf,
  throughHalves,
} from "./method.ts";

function loraMethod(
  name: string,
  summary: string,
  scale: (options: LowRankOptions) => number,
  useRsLora: boolean,
): Method<LowRankOptions> {
  return {
    name,
    summary,
    trainsBase: false,
    defaults: lowRankDefaults,
    parameters(module, options) {
      checkLowRank(module, options, Infinity);
      return lowRankFactors(module, options.r);
    },
    ...throughHalves<LowRankOptions>({
      down: ({ dropped, parameters: { A } }) => linear(dropped, A),
      up: ({ parameters: { B }, options }, v, base) =>
        linear(v, B, { scale: scale(options), residual: base?.() }),
    }),
    cost: ({ m, n }, { r }) => productCost((m + n) * r),
    peft: {
      type: "LORA",
      patterns: ["r", "alpha"],
      keys: { A: "lora_A.weight", B: "lora_B.weight" },
      fields: { r: "r", alpha: "lora_alpha", dropout: "lora_dropout" },
      marks: { use_rslora: useRsLora, use_dora: false },
    },
  };
}

/**
 * LoRA (Hu et al. 2022): ΔW = s·BA with s = α/r. Pass it to `attach`.
 *
 * @example
 * ```ts
 * import { attach, loadUseLite, lora } from "@bora/webgpu";
 *
 * const adapter = attach(await loadUseLite(), lora, { r: 4, alpha: 8, target: "all-linear", dropout: 0.1 });
 * console.log(adapter.trainableParameters, adapter.multiplyAddsPerToken);
 * ```
 */
export const lora: Method<LowRankOptions> = loraMethod(
  "LoRA",
  "y = W x + s·B A x, s = α/r (Hu et al. 2022)",
  scaleOf,
  false,
);

/** rsLoRA (Kalajdzievski 2023): LoRA with s = α/√r, so that the update keeps its size as r grows. */
export const rsLora: Method<LowRankOptions> = loraMethod(
  "rsLoRA",
  "LoRA with s = α/√r (Kalajdzievski 2023)",
  ({ alpha, r }) => alpha / Math.sqrt(r),
  true,
);
