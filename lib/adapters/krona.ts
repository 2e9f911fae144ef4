/**
 * KronA (Edalati et al. 2022, arXiv 2212.10650; factor shapes and initialisation follow PEFT's LoKr,
 * `tuners/lokr/layer.py`, with neither factor decomposed).
 *
 *     y = W x + bias + s·(A ⊗ B) dropout(x),   s = α/r,   (A ⊗ B)x = vec(A X Bᵀ),  X: x reshaped to a₂×b₂
 *
 * A: a₁×a₂, zeros; B: b₁×b₂, Kaiming uniform (a = √5, fan b₂); a₁b₁ = m, a₂b₂ = n. `factor` f makes A f×f;
 * "auto" takes the largest divisors of m and n that are at most their square roots. r only affects the scale.
 * Trainable parameters: a₁a₂ + b₁b₂. Rank: rank(A)·rank(B), up to full. Mergeable.
 */

import { add } from "../graph/ops/binary.ts";
import { reshape, swapAxes } from "../graph/ops/layout.ts";
import { linear } from "../graph/ops/product/product.ts";
import type { LinearModule } from "../models/model.ts";
import { zeros } from "../models/parameter.ts";
import {
  checkAlpha,
  lowRankDefaults,
  type LowRankOptions,
  type Method,
  productCost,
  scaleOf,
} from "./method.ts";

/** Hyperparameters of KronA. r only sets the scale s = α/r. */
export interface KronaOptions extends LowRankOptions {
  /**
   * Rows and columns of A, a common divisor of m and n; "auto" takes their largest divisors up to √m and √n.
   */
  readonly factor: number | "auto";
}

/** The shapes of A (a₁×a₂) and B (b₁×b₂). */
function factorShapes({ path, m, n }: LinearModule, factor: number | "auto") {
  const small = (extent: number) => {
    if (factor !== "auto") return factor;
    return Array.from({ length: Math.floor(Math.sqrt(extent)) }, (_, i) => i + 1)
      .findLast((divisor) => extent % divisor === 0)!;
  };
  const [a1, a2] = [small(m), small(n)];
  if (!Number.isInteger(a1) || a1 < 1 || m % a1 !== 0 || n % a2 !== 0) {
    throw new Error(
      `factor ${factor} does not divide ${path} (m = ${m}, n = ${n}): use a common divisor, or "auto"`,
    );
  }
  return { a1, a2, b1: m / a1, b2: n / a2 };
}

/** KronA (Edalati et al. 2022): the update is a Kronecker product, ΔW = s·(A ⊗ B). */
export const krona: Method<KronaOptions> = {
  name: "KronA",
  summary: "y = W x + s·(A ⊗ B) x (Edalati et al. 2022)",
  trainsBase: false,
  defaults: { ...lowRankDefaults, factor: "auto" },
  auto: ["factor"],
  parameters(module, { r, alpha, factor }) {
    if (!Number.isInteger(r) || r < 1) throw new Error(`rank ${r}: use a whole number from 1`);
    checkAlpha(alpha);
    const { a1, a2, b1, b2 } = factorShapes(module, factor);
    return {
      A: { shape: [a1, a2], init: zeros },
      B: { shape: [b1, b2], init: { kind: "kaiming", fan: b2 } },
    };
  },
  forward({ dropped, parameters: { A, B }, options, base }) {
    const [[tokens], [a1, a2], [b1, b2]] = [dropped.shape, A.shape, B.shape];
    const right = linear(reshape(dropped, [tokens * a2, b2]), B);
    const turned = swapAxes(right, { p: a2, q: b1, width: 1 }, [tokens * b1, a2]);
    const both = linear(turned, A, { scale: scaleOf(options) });
    return add(swapAxes(both, { p: b1, q: a1, width: 1 }, [tokens, a1 * b1]), base());
  },
  mergeable: true,
  cost(module, { factor }) {
    const { a1, a2, b1, b2 } = factorShapes(module, factor);
    return productCost(a2 * b1 * b2 + a1 * a2 * b1);
  },
  peft: {
    type: "KRONA",
    keys: { A: "krona_A", B: "krona_B" },
    fields: { r: "r", alpha: "alpha", dropout: "module_dropout", factor: "decompose_factor" },
  },
};
