/**
 * VeRA: Vector-based Random Matrix Adaptation (Kopiczko et al. 2024, arXiv 2310.11454; follows PEFT's
 * `tuners/vera`).
 *
 *     y = W x + bias + λ_b ⊙ B(λ_d ⊙ A dropout(x))
 *
 * A: r×n and B: m×r are frozen, Kaiming uniform with gain √2, U(±√(6/fan)), and shared: each layer uses the
 * top-left corner of the largest layer's. They come from this library's random generator, so PEFT's VeRA
 * adapters, which assume PEFT's projections, do not load here. λ_d: r, 0.1; λ_b: m, zeros. There is no α.
 * Trainable parameters: m + r. Mergeable.
 */

import { linear } from "../graph/ops/product/product.ts";
import { scaleColumns } from "../graph/ops/scale_columns.ts";
import { zeros } from "../models/parameter.ts";
import { type AdapterOptions, type Method, throughHalves } from "./method.ts";

/** Hyperparameters of VeRA. There is no α, and r may exceed the layer's dimensions. */
export interface VeraOptions extends AdapterOptions {
  /** Rank r of the random factors, a positive integer. */
  readonly r: number;
  /** Dropout rate on the adapter's input during training, in [0, 1). */
  readonly dropout: number;
  /** Initial value of λ_d: not 0, because λ_b starts there and neither of the two would ever get a gradient. */
  readonly dInitial: number;
}

/**
 * VeRA (Kopiczko et al. 2024): frozen random factors shared by all layers, with learned scaling vectors.
 * There is no α.
 */
export const vera: Method<VeraOptions> = {
  name: "VeRA",
  summary: "y = W x + λ_b ⊙ B(λ_d ⊙ A x), A and B random and shared (Kopiczko et al. 2024)",
  trainsBase: false,
  defaults: { r: 256, dropout: 0, dInitial: 0.1 },
  parameters({ m, n }, { r, dInitial }, all) {
    if (!Number.isInteger(r) || r < 1) throw new Error(`rank ${r}: use a whole number from 1`);
    if (dInitial === 0) {
      throw new Error(
        "dInitial 0: neither vector would ever get a gradient; use another number, such as 0.1",
      );
    }
    const widest = Math.max(...all.map((module) => module.n));
    const corner = (columns: number) => ({ kind: "corner", columns, bound: Math.sqrt(6 / columns) }) as const;
    return {
      lambda_d: { shape: [r], init: { kind: "constant", value: dInitial } },
      lambda_b: { shape: [m], init: zeros },
      A: { shape: [r, n], init: corner(widest), frozen: true, shared: "vera_A" },
      B: { shape: [m, r], init: corner(r), frozen: true, shared: "vera_B" },
    };
  },
  ...throughHalves<VeraOptions>({
    down: ({ dropped, parameters: { A, lambda_d } }) => scaleColumns(linear(dropped, A), lambda_d),
    up: ({ parameters: { B, lambda_b } }, v, base) =>
      scaleColumns(linear(v, B), lambda_b, { residual: base?.() }),
  }),
  // The frozen A and B need no gradients; only the vectors do.
  cost: ({ m, n }, { r }) => ({ forward: (m + n) * r + m + r, backward: (m + n) * r + 2 * (m + r), step: 0 }),
  peft: {
    type: "VERA_WEBGPU",
    keys: { lambda_d: "vera_lambda_d", lambda_b: "vera_lambda_b" },
    fields: { r: "r", dropout: "vera_dropout", dInitial: "d_initial" },
  },
};
