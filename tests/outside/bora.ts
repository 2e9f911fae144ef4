/** BoRA as someone else would write it: from public names alone. The test serves the repository at this address. */

import { boraMix, boraSigma } from "http://repository.test/lib/front/graph.ts";
import {
  blockDefaults,
  type BlockOptions,
  expand,
  lowRankFactors,
  type Method,
  productCost,
  project,
  resolveBlocks,
  scaleOf,
} from "http://repository.test/lib/front/models.ts";

/** y_j = W_j x + s·B_j Σ_k exp(σ_jk/Mav(σ)) ⊙ A_k x_k. */
export const myBora: Method<BlockOptions> = {
  name: "My BoRA",
  summary: "BoRA outside its library",
  trainsBase: false,
  defaults: blockDefaults,
  auto: ["blocks"],
  parameters(module, { r, blocks }) {
    const b = resolveBlocks(module, blocks);
    return {
      ...lowRankFactors(module, r),
      sigma: { shape: [b, b, r], init: { kind: "kaiming", fan: b * r } },
    };
  },
  forward({ dropped, parameters: { A, B, sigma }, options, base }) {
    const b = sigma.shape[0];
    const v = boraMix(project(dropped, A, b), boraSigma(sigma, { exp: true, norm: true }));
    return expand(v, B, b, scaleOf(options), base());
  },
  mergeable: true,
  cost(module, { r, blocks }) {
    const b = resolveBlocks(module, blocks);
    return productCost((module.m + module.n + b * b) * r);
  },
  peft: {
    type: "MY_BORA",
    keys: { A: "bora_A.weight", B: "bora_B.weight", sigma: "bora_sigma" },
    fields: { r: "r", alpha: "lora_alpha", dropout: "lora_dropout", blocks: "num_blocks" },
  },
};
