/**
 * BoRA: Block-Diversified Low-Rank Adaptation (arXiv 2508.06953, ICLR 2026).
 *
 *     y_j = W_j x + bias_j + s·B_j Σ_k Σ_jk A_k dropout(x_k),   Σ_jk = Diag(exp(σ_jk / Mav(σ))),   s = α/r
 *     Mav(σ) = ‖σ‖₁ / (b²r)
 *
 * A: r×n in b column blocks, Kaiming uniform (a = √5, fan n); B: m×r in b row blocks, zeros; σ: b×b×r,
 * Kaiming uniform like A. Σ does not change when σ is scaled, so the bound of σ only sets how fast Σ changes
 * under Adam. The paper does not say which fan σ uses: `sigmaFan` offers b·r (PyTorch's fan for a tensor of
 * this shape, the default), r, and n. Trainable parameters: (m + n + b²)r. Rank: up to min(m, n, b·r).
 * Mergeable: W + s·[B_j Σ_jk A_k].
 *
 * Each ablation drops one part of Σ: Σ = σ/Mav(σ) without Exp, Σ = exp(σ) without Norm.
 */

import type { Tensor } from "../graph/graph.ts";
import { boraMix, boraSigma, type SigmaMap } from "../graph/ops/bora.ts";
import type { LinearModule } from "../models/model.ts";
import type { ParameterSpec } from "../models/parameter.ts";
import { expand, project } from "./block_products.ts";
import { resolveBlocks } from "./blocks.ts";
import {
  blockDefaults,
  type BlockOptions,
  checkLowRank,
  type Halves,
  lowRankFactors,
  type Method,
  type PeftFormat,
  productCost,
  scaleOf,
  throughHalves,
} from "./method.ts";

/** Hyperparameters of BoRA. */
export interface BoraOptions extends BlockOptions {
  /** The fan of σ's Kaiming bound 1/√fan: b·r, r or the layer's input width n. */
  readonly sigmaFan: "br" | "r" | "n";
}

export const boraDefaults: BoraOptions = { ...blockDefaults, sigmaFan: "br" };

/** The paper's Σ, with Exp and Norm. */
export const paperSigma: SigmaMap = { exp: true, norm: true };

/** σ for one layer: b×b×r. */
function sigmaSpec(module: LinearModule, { r, blocks, sigmaFan }: BoraOptions): ParameterSpec {
  const b = resolveBlocks(module, blocks);
  const fans = { br: b * r, r, n: module.n };
  if (!Object.hasOwn(fans, sigmaFan)) throw new Error(`sigmaFan "${sigmaFan}": use "br", "r" or "n"`);
  return { shape: [b, b, r], init: { kind: "kaiming", fan: fans[sigmaFan] } };
}

/** V_j = Σ_k Σ_jk ⊙ A_k x_k: x [T, n] → [T, b·r]. */
export function mixedProjection(x: Tensor, A: Tensor, sigma: Tensor, map: SigmaMap): Tensor {
  return boraMix(project(x, A, sigma.shape[0]), boraSigma(sigma, map));
}

/** s·B_j V_j, with as many blocks as σ has. */
export const expandBlocks: Halves<BoraOptions>["up"] = ({ parameters: { B, sigma }, options }, v, base) =>
  expand(v, B, sigma.shape[0], scaleOf(options), base?.());

/** Names of BoRA's tensors and options in a saved adapter folder. */
export const boraPeft: PeftFormat = {
  type: "BORA",
  keys: { A: "bora_A.weight", B: "bora_B.weight", sigma: "bora_sigma" },
  fields: {
    r: "r",
    alpha: "lora_alpha",
    dropout: "lora_dropout",
    blocks: "num_blocks",
    sigmaFan: "sigma_init_fan",
  },
};

function boraMethod(name: string, summary: string, map: SigmaMap): Method<BoraOptions> {
  return {
    name,
    summary,
    trainsBase: false,
    defaults: boraDefaults,
    auto: ["blocks"],
    parameters(module, options) {
      checkLowRank(module, options);
      return { ...lowRankFactors(module, options.r), sigma: sigmaSpec(module, options) };
    },
    ...throughHalves<BoraOptions>({
      down: ({ dropped, parameters: { A, sigma } }) => mixedProjection(dropped, A, sigma, map),
      up: expandBlocks,
    }),
    cost(module, options) {
      const b = resolveBlocks(module, options.blocks);
      return productCost((module.m + module.n + b * b) * options.r);
    },
    peft: { ...boraPeft, marks: { use_exp: map.exp, use_norm: map.norm } },
  };
}

/**
 * BoRA (arXiv 2508.06953): LoRA in b×b blocks, each with its own learned diagonal, ΔW_jk = s·B_j
 * Diag(exp(σ_jk / Mav(σ))) A_k with s = α/r. The number of blocks must divide both dimensions of every target
 * layer; `blocks: "auto"` chooses it. Pass it to `attach`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { attach, bora, loadUseLite, lora } from "@bora/webgpu";
 *
 * const [model, target] = [await loadUseLite(), ["query", "value"]];
 * const [own, other] = [
 *   attach(model, bora, { r: 8, blocks: 16, target }),
 *   attach(model, lora, { r: 8, target }),
 * ];
 * // b²r more parameters than LoRA in each of the four layers.
 * assert.equal(own.trainableParameters - other.trainableParameters, 4 * 16 ** 2 * 8);
 * ```
 */
export const bora: Method<BoraOptions> = boraMethod(
  "BoRA",
  "y_j = W_j x + s·B_j Σ_k exp(σ_jk/Mav(σ)) ⊙ A_k x_k (arXiv 2508.06953)",
  paperSigma,
);

/** BoRA's ablation without the exponential: Σ_jk = Diag(σ_jk / Mav(σ)). */
export const boraWithoutExp: Method<BoraOptions> = boraMethod(
  "BoRA without Exp",
  "BoRA with Σ = σ/Mav(σ)",
  { exp: false, norm: true },
);

/** BoRA's ablation without the normalisation: Σ_jk = Diag(exp(σ_jk)). */
export const boraWithoutNorm: Method<BoraOptions> = boraMethod(
  "BoRA without Norm",
  "BoRA with Σ = exp(σ)",
  { exp: true, norm: false },
);
