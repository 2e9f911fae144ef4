/**
 * DoRA: Weight-Decomposed Low-Rank Adaptation (Liu et al. 2024, arXiv 2402.09353; follows PEFT's
 * `tuners/lora/dora.py`). Written here for any method with an additive update ΔW; DoRA itself uses LoRA's.
 *
 *     y = c ⊙ (W x + ΔW dropout(x)) + bias,   c_i = g_i / ‖(W + ΔW)_i‖₂
 *
 * The magnitude vector g: m starts at the row norms ‖W_i‖. The norm is recomputed every step, and no gradient
 * flows through it (section 4.3). A new adapter has c = 1 up to rounding. Trainable parameters: those of ΔW,
 * and m. Mergeable: c ⊙ (W + ΔW).
 *
 * One difference from PEFT: PEFT also applies dropout to the input of W in the (c − 1) term, which needs a
 * second base product. Here dropout applies only to the low-rank branch.
 */

import { multiply } from "../graph/ops/binary.ts";
import { detachedInverseColumnNorm } from "../graph/ops/column_norm.ts";
import { swapAxes } from "../graph/ops/layout.ts";
import { scaleColumns } from "../graph/ops/scale_columns.ts";
import type { Weight } from "../models/model.ts";
import { identitySpec } from "./identity.ts";
import { lora, rsLora } from "./lora.ts";
import type { AdapterOptions, Cost, LowRankOptions, Method, PeftFormat, Site } from "./method.ts";

/** The row norms ‖W_i‖₂. */
function rowNorms({ shape: [m, n], data }: Weight): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: m }, (_, i) => Math.hypot(...data.subarray(i * n, (i + 1) * n)));
}

/** (W + ΔW)ᵀ [n, m]: the adapter applied to the rows of the identity matrix, added to Wᵀ. */
function transposedWeight<O extends AdapterOptions>(inner: Method<O>, site: Site<O>) {
  const { m, n } = site.module;
  const { identity } = site.parameters;
  const transposed = () => swapAxes(site.weight, { p: m, q: n, width: 1 }, [n, m]);
  return inner.forward({ ...site, x: identity, dropped: identity, base: transposed });
}

/** `inner` with DoRA's decomposition: the magnitudes of the weight's rows are learned separately. */
export function decomposed<O extends AdapterOptions>(
  inner: Method<O>,
  name: string,
  summary: string,
  peft: PeftFormat,
): Method<O> {
  return {
    name,
    summary,
    trainsBase: false,
    readsBase: true,
    defaults: inner.defaults,
    auto: inner.auto,
    parameters: (module, options, all) => ({
      ...inner.parameters(module, options, all),
      magnitude: { shape: [module.m], init: { kind: "fromWeight", values: rowNorms } },
      identity: identitySpec(module.n),
    }),
    forward(site) {
      const norm = detachedInverseColumnNorm(transposedWeight(inner, site));
      const z = inner.forward({ ...site, base: site.product });
      const c = multiply(site.parameters.magnitude, norm);
      return scaleColumns(z, c, { shift: site.bias, residual: site.residual });
    },
    mergeable: true,
    cost(module, options): Cost {
      const { forward, backward, step } = inner.cost(module, options);
      return {
        forward: forward + module.m,
        backward: backward + 2 * module.m,
        step: step + module.n * forward + module.m * module.n,
      };
    },
    peft,
  };
}

/** Hyperparameters of DoRA. */
export interface DoraOptions extends LowRankOptions {
  /** True to scale the update by rsLoRA's s = α/√r; false for LoRA's α/r. */
  readonly useRslora: boolean;
}

/** LoRA's update with either scale. */
const eitherLora: Method<DoraOptions> = {
  ...lora,
  halves: undefined,
  defaults: { ...lora.defaults, useRslora: false },
  forward: (site) => (site.options.useRslora ? rsLora : lora).forward(site),
};

/**
 * DoRA (Liu et al. 2024): LoRA with a learned magnitude for each row of the weight, y = g ⊙ (W + s·BA)x /
 * ‖W + s·BA‖ (norm per row). Pass it to `attach`; `useRslora: true` sets s = α/√r.
 */
export const dora: Method<DoraOptions> = decomposed(
  eitherLora,
  "DoRA",
  "y = g ⊙ (W + s·BA)x / ‖W + s·BA‖_row (Liu et al. 2024)",
  {
    ...lora.peft!,
    keys: { ...lora.peft!.keys, magnitude: "lora_magnitude_vector" },
    fields: { ...lora.peft!.fields, useRslora: "use_rslora" },
    marks: { use_dora: true },
  },
);
