/**
 * BoRA with a banded Σ, an extension beyond the paper, which leaves a richer Σ as an open question: each Σ_jk
 * has BoRA's diagonal and the two neighbouring (cyclic) diagonals.
 *
 *     Σ_jk = Diag(exp(σ_jk/Mav(σ))) + Σ_{δ=±1} Diag(τ^δ_jk) P_δ,   (P_δ u)_c = u_{c+δ mod r}
 *
 * τ^δ: b×b×r each, zeros, so training starts from BoRA; σ, A and B as in BoRA. Trainable parameters:
 * (m + n + 3b²)r. Mergeable.
 */

import { add } from "../graph/ops/binary.ts";
import { boraMix } from "../graph/ops/bora.ts";
import { matmul } from "../graph/ops/product/product.ts";
import { type ParameterSpec, zeros } from "../models/parameter.ts";
import { project } from "./block_products.ts";
import { resolveBlocks } from "./blocks.ts";
import {
  bora,
  boraDefaults,
  type BoraOptions,
  boraPeft,
  expandBlocks,
  mixedProjection,
  paperSigma,
} from "./bora.ts";
import { type Method, productCost, throughHalves } from "./method.ts";

/** P_δ: r×r. */
function rotationSpec(r: number, shift: number): ParameterSpec {
  const values = () => {
    const P = new Float32Array(r * r);
    for (let c = 0; c < r; c++) P[c * r + (c + shift + r) % r] = 1;
    return P;
  };
  const shared = shift > 0 ? "rotation up" : "rotation down";
  return { shape: [r, r], init: { kind: "given", values }, frozen: true, shared };
}

/**
 * BoRA with a cyclic tridiagonal Σ_jk in place of a diagonal, an extension beyond the paper. Needs r ≥ 3 and
 * adds 2b²r parameters per layer to BoRA's.
 */
export const boraBanded: Method<BoraOptions> = {
  name: "BoRA banded Σ",
  summary: "BoRA with the neighbouring diagonals in Σ, starting at 0",
  trainsBase: false,
  defaults: boraDefaults,
  auto: ["blocks"],
  parameters(module, options, all) {
    if (options.r < 3) throw new Error(`a banded Σ wants a rank from 3, not ${options.r}`);
    const own = bora.parameters(module, options, all);
    const band: ParameterSpec = { shape: own.sigma.shape, init: zeros };
    const rotations = { up: rotationSpec(options.r, 1), down: rotationSpec(options.r, -1) };
    return { ...own, tau_up: band, tau_down: band, ...rotations };
  },
  ...throughHalves<BoraOptions>({
    down({ dropped, parameters: { A, sigma, tau_up, tau_down, up, down } }) {
      const rotated = ([P, tau]: typeof A[]) => boraMix(project(dropped, matmul(P, A), sigma.shape[0]), tau);
      return [[up, tau_up], [down, tau_down]].map(rotated)
        .reduce(add, mixedProjection(dropped, A, sigma, paperSigma));
    },
    up: expandBlocks,
  }),
  cost(module, options) {
    const b = resolveBlocks(module, options.blocks);
    const [{ m, n }, { r }] = [module, options];
    // P_δ A is computed once per step for each band, and so is its gradient P_δᵀ dA; P_δ itself is constant.
    return { ...productCost((m + 3 * n + 3 * b * b) * r), step: 4 * r * r * n };
  },
  peft: {
    ...boraPeft,
    type: "BORA_BANDED",
    keys: { ...boraPeft.keys, tau_up: "bora_tau_up", tau_down: "bora_tau_down" },
  },
};
