/**
 * BoRA: Block-Diversified Low-Rank Adaptation (arXiv 2508.06953, ICLR 2026).
 *
 *     y_j = W_j x + bias_j + s·B_j Σ_k Σ_jk A_k dropout(x_k),   Σ_jk = Diag(exp(σ_jk / Mav(σ))),   s = α/r
 *     Mav(σ) = ‖σ‖₁ / (b²r)
 *
 * A: r×n in b column blocks, Kaiming uniform (a = √5, fan n); B: m×r in b row blocks, zeros; σ: b×b×r, Kaiming uniform
 * like A, as PyTorch reads the fan of such a tensor: b·r. Σ does not change when σ is scaled, so the fan only sets how
 * fast σ moves under Adam. Trainable: (m + n + b²)r; rank up to min(m, n, b·r). Merges: W + s·[B_j Σ_jk A_k].
 * The ablations drop one part of Σ each: without Exp Σ = σ/Mav(σ), without Norm Σ = exp(σ).
 */

import { boraMix, boraSigma, type SigmaMap } from "../graph/ops/bora.ts";
import { resolveBlocks } from "./blocks.ts";
import { blockDelta, expand, project } from "./block_products.ts";
import { checkRank, type Method, scaleOf } from "./method.ts";

function boraMethod(name: string, summary: string, map: SigmaMap): Method {
  return {
    name,
    summary,
    trainsBase: false,
    reads: ["r", "alpha", "dropout", "blocks"],
    parameters(module, options) {
      checkRank(module, options);
      const b = resolveBlocks(module, options.blocks);
      return {
        A: { shape: [options.r, module.n], init: { kind: "kaiming", fan: module.n } },
        B: { shape: [module.m, options.r], init: { kind: "zeros" } },
        sigma: { shape: [b, b, options.r], init: { kind: "kaiming", fan: b * options.r } },
      };
    },
    forward({ dropped, parameters: { A, B, sigma }, module, options, base }) {
      const b = resolveBlocks(module, options.blocks);
      const v = boraMix(project(dropped, A, b), boraSigma(sigma, map));
      return expand(v, B, b, scaleOf(options), base());
    },
    delta({ parameters: { A, B, sigma }, module, options }) {
      const b = resolveBlocks(module, options.blocks);
      return blockDelta(B, A, boraSigma(sigma, map), b, scaleOf(options));
    },
    multiplyAdds(module, options) {
      const b = resolveBlocks(module, options.blocks);
      return (module.m + module.n + b * b) * options.r;
    },
  };
}

export const bora: Method = boraMethod(
  "BoRA",
  "y_j = W_j x + s·B_j Σ_k exp(σ_jk/Mav(σ)) ⊙ A_k x_k (arXiv 2508.06953)",
  {
    exp: true,
    norm: true,
  },
);

export const boraWithoutExp: Method = boraMethod("BoRA without Exp", "BoRA with Σ = σ/Mav(σ)", {
  exp: false,
  norm: true,
});

export const boraWithoutNorm: Method = boraMethod("BoRA without Norm", "BoRA with Σ = exp(σ)", {
  exp: true,
  norm: false,
});
