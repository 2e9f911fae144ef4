/**
 * BoRA with a dense r×r Σ_jk, an extension beyond the paper, which leaves a richer Σ as an open question.
 *
 *     Σ_jk = Diag(exp(σ_jk/Mav(σ))) + T_jk,   T: b·r × b·r in r×r blocks T_jk
 *
 * T: zeros, so training starts from BoRA; σ, A and B as in BoRA. Trainable parameters: (m + n + b² + b²r)r.
 * Mergeable.
 */

import { add } from "../graph/ops/binary.ts";
import { boraMix, boraSigma } from "../graph/ops/bora.ts";
import { linear } from "../graph/ops/product/product.ts";
import { zeros } from "../models/parameter.ts";
import { project } from "./block_products.ts";
import { resolveBlocks } from "./blocks.ts";
import { bora, boraDefaults, type BoraOptions, boraPeft, expandBlocks, paperSigma } from "./bora.ts";
import { type Method, productCost, throughHalves } from "./method.ts";

/**
 * BoRA with a dense r×r matrix Σ_jk in place of a diagonal, an extension beyond the paper. Adds b²r²
 * parameters per layer to BoRA's.
 */
export const boraDense: Method<BoraOptions> = {
  name: "BoRA dense Σ",
  summary: "BoRA with a whole r×r matrix for each block pair, starting at BoRA's diagonal",
  trainsBase: false,
  defaults: boraDefaults,
  auto: ["blocks"],
  parameters(module, options, all) {
    const width = resolveBlocks(module, options.blocks) * options.r;
    return { ...bora.parameters(module, options, all), T: { shape: [width, width], init: zeros } };
  },
  ...throughHalves<BoraOptions>({
    down({ dropped, parameters: { A, sigma, T } }) {
      const u = project(dropped, A, sigma.shape[0]);
      return add(boraMix(u, boraSigma(sigma, paperSigma)), linear(u, T));
    },
    up: expandBlocks,
  }),
  cost(module, options) {
    const b = resolveBlocks(module, options.blocks);
    const { r } = options;
    return productCost((module.m + module.n + b * b) * r + (b * r) ** 2);
  },
  peft: { ...boraPeft, type: "BORA_DENSE", keys: { ...boraPeft.keys, T: "bora_T" } },
};
