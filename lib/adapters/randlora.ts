/**
 * RandLoRA (Albert et al. 2025, arXiv 2502.00987). Adapters of PEFT's `tuners/randlora` cannot be loaded
 * here: it pairs the random bases in another order.
 *
 *     ΔW = s·Σ_j B_j Diag(λ_j) A Diag(γ_j),   j = 1 … N = ⌈min(m, n)/r⌉,   s = α/r,   transposed when n > m
 *
 * With d = min(m, n) and D = max(m, n): A (stored as d×r) and the B_j (side by side, D×N·r) are frozen,
 * uniform with standard deviation 1, and shared by all layers of one shape; λ: N×r, zeros; γ (stored as d×N):
 * 1/d. Trainable parameters: N(r + d) ≥ d²/r. Full rank. Mergeable.
 */

import { gate } from "../graph/ops/gate.ts";
import { reshape } from "../graph/ops/layout.ts";
import { linear, matmul } from "../graph/ops/product/product.ts";
import { scaleColumns } from "../graph/ops/scale_columns.ts";
import type { LinearModule } from "../models/model.ts";
import { type ParameterSpec, zeros } from "../models/parameter.ts";
import { checkLowRank, type LowRankOptions, type Method, scaleOf } from "./method.ts";

const basesOf = ({ m, n }: LinearModule, r: number) => Math.ceil(Math.min(m, n) / r);

function randomBases(rows: number, cols: number, shared: string): ParameterSpec {
  return {
    shape: [rows, cols],
    init: { kind: "corner", columns: cols, bound: Math.sqrt(3) },
    frozen: true,
    shared,
  };
}

/**
 * RandLoRA (Albert et al. 2025): a full-rank update as a sum of frozen random low-rank products, scaled by
 * learned diagonals.
 */
export const randLora: Method<LowRankOptions> = {
  name: "RandLoRA",
  summary: "ΔW = s·Σ_j B_j Diag(λ_j) A Diag(γ_j), A and B_j random (Albert et al. 2025)",
  trainsBase: false,
  defaults: { r: 32, alpha: 640, dropout: 0 },
  parameters(module, options) {
    checkLowRank(module, options);
    const { r } = options;
    const [d, D, N] = [Math.min(module.m, module.n), Math.max(module.m, module.n), basesOf(module, r)];
    return {
      lambda: { shape: [N, r], init: zeros },
      gamma: { shape: [d, N], init: { kind: "constant", value: 1 / d } },
      A: randomBases(d, r, "randlora_A"),
      B: randomBases(D, N * r, "randlora_B"),
    };
  },
  forward({ dropped, module: { m, n }, parameters: { lambda, gamma, A, B }, options, base }) {
    const scaledA = gate(gamma, A, true);
    const [first, second] = n <= m ? [scaledA, B] : [B, scaledA];
    const u = scaleColumns(matmul(dropped, first), reshape(lambda, [B.shape[1]]));
    return linear(u, second, { scale: scaleOf(options), residual: base() });
  },
  mergeable: true,
  cost(module, { r }) {
    const width = basesOf(module, r) * r;
    const forward = (module.m + module.n + 1) * width;
    // One product for each operand's gradient, except for the frozen B.
    const backward = forward + Math.min(module.m, module.n) * width + width;
    return { forward, backward, step: 3 * Math.min(module.m, module.n) * width };
  },
  peft: {
    type: "RANDLORA_WEBGPU",
    keys: { lambda: "randlora_lambda", gamma: "randlora_gamma" },
    fields: { r: "r", alpha: "randlora_alpha", dropout: "randlora_dropout" },
  },
};
