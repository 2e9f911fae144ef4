/** Weighted sums of LoRA adapters. */

import type { Model, Weight } from "../models/model.ts";
import { attach } from "./attach.ts";
import { lora, rsLora } from "./lora.ts";
import { type LowRankOptions, scaleOf } from "./method.ts";
import type { SavedAdapter } from "./peft.ts";

/** An adapter and its weight in the sum. */
export interface WeightedAdapter extends SavedAdapter {
  readonly weight: number;
}

/** The scale s of one layer, from that layer's options. */
function layerScale({ adapter: { method } }: SavedAdapter, options: LowRankOptions): number {
  return method === rsLora ? options.alpha / Math.sqrt(options.r) : scaleOf(options);
}

/**
 * The LoRA adapter whose update is exactly Σ w_i·ΔW_i (PEFT's `combination_type="cat"`): A = the w_i s_i A_i
 * stacked, B = the B_i side by side, r = Σ r_i, and α = r so that s = 1. Heads are not combined: add the head
 * you want to the returned weights.
 * @throws Error when an adapter is not LoRA or rsLoRA, when it has `modulesToSave` or a rank pattern, when
 * the adapters are on different layers, or when a weight is not finite.
 */
export function combineLoras(model: Model, parts: readonly WeightedAdapter[]): SavedAdapter {
  const [first] = parts;
  if (!first) throw new Error("no adapters to combine");
  const paths = (part: SavedAdapter) => part.adapter.modules.map(({ module }) => module.path).join();
  for (const part of parts) {
    const { method, targeting } = part.adapter;
    if (method !== lora && method !== rsLora) {
      throw new Error(
        `a weighted sum is exact for LoRA only, not for ${method.name}: merge the adapters one by one`,
      );
    }
    if (!Number.isFinite(part.weight)) throw new Error(`the weight ${part.weight} is not a finite number`);
    if (part.adapter.trainedBase.size > 0) {
      throw new Error(
        `an adapter with trained modules (${part.adapter.targeting.modulesToSave}) cannot be combined: ` +
          `a sum of updates does not say what becomes of them`,
      );
    }
    if (paths(part) !== paths(first)) {
      throw new Error("the adapters sit on different layers and cannot be combined");
    }
    if (targeting.rankPattern) throw new Error("adapters with a rank pattern cannot be combined");
  }
  const r = parts.reduce((sum, { adapter }) => sum + (adapter.options as LowRankOptions).r, 0);
  const { target, layers } = first.adapter.targeting;
  const adapter = attach(model, lora, { r, alpha: r, target, layers });
  const weights = new Map<string, Weight>();
  for (const { module: { path, m, n } } of adapter.modules) {
    const A = new Float32Array(r * n);
    const B = new Float32Array(m * r);
    let at = 0;
    for (const part of parts) {
      const { options } = part.adapter.modules.find(({ module }) => module.path === path)!;
      const own = (options as LowRankOptions).r;
      const factor = part.weight * layerScale(part, options as LowRankOptions);
      A.set(part.weights.get(`${path}.A`)!.data.map((value) => factor * value), at * n);
      part.weights.get(`${path}.B`)!.data.forEach((value, i) =>
        B[Math.floor(i / own) * r + at + i % own] = value
      );
      at += own;
    }
    weights.set(`${path}.A`, { shape: [r, n], data: A }).set(`${path}.B`, { shape: [m, r], data: B });
  }
  return { adapter, weights };
}
