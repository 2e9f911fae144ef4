/**
 * DoRA: Weight-Decomposed Low-Rank Adaptation (Liu et al. 2024, arXiv 2402.09353; follows PEFT's `tuners/lora/dora.py`),
 * here around any additive method with an update ΔW, of which DoRA proper takes LoRA's.
 *
 *     y = c ⊙ (W x + ΔW dropout(x)) + bias,   c_i = g_i / ‖(W + ΔW)_i‖₂
 *
 * g: m, the rows' magnitudes, starts at ‖W_i‖; the norm is computed anew every step and no gradient flows through it
 * (section 4.3). A fresh adapter has c = 1 up to rounding. Trainable: those of ΔW and m. Merges: c ⊙ (W + ΔW).
 * PEFT feeds dropout(x) to W's share of the (c − 1) term as well, at the price of a second base product; here dropout acts
 * on the low-rank branch alone.
 */

import { multiply } from "../graph/ops/binary.ts";
import { detachedInverseColumnNorm } from "../graph/ops/column_norm.ts";
import { swapAxes } from "../graph/ops/layout.ts";
import { scaleColumns } from "../graph/ops/scale_columns.ts";
import type { Weight } from "../models/model.ts";
import { identitySpec } from "./identity.ts";
import { lora, rsLora } from "./lora.ts";
import type { AdapterOptions, Cost, LowRankOptions, Method, PeftFormat, Site } from "./method.ts";

/** ‖W_i‖₂ of every row. */
function rowNorms({ shape: [m, n], data }: Weight): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: m }, (_, i) => Math.hypot(...data.subarray(i * n, (i + 1) * n)));
}

/** (W + ΔW)ᵀ [n, m]: the identity's rows through the adapter, onto Wᵀ. */
function transposedWeight<O extends AdapterOptions>(inner: Method<O>, site: Site<O>) {
  const { m, n } = site.module;
  const { identity } = site.parameters;
  const transposed = () => swapAxes(site.weight, { p: m, q: n, width: 1 }, [n, m]);
  return inner.forward({ ...site, x: identity, dropped: identity, base: transposed });
}

/** `inner` with the rows' magnitudes learned apart. */
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

/** Hyper-parameters of DoRA. */
export interface DoraOptions extends LowRankOptions {
  /** True for rsLoRA's s = α/√r in place of LoRA's α/r. */
  readonly useRslora: boolean;
}

/** LoRA's update under either scale. */
const eitherLora: Method<DoraOptions> = {
  ...lora,
  defaults: { ...lora.defaults, useRslora: false },
  forward: (site) => (site.options.useRslora ? rsLora : lora).forward(site),
};

/** DoRA: LoRA with the magnitudes of the weight's rows apart. */
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
