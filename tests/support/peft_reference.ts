/** What both sides of the comparison with PEFT itself start from: adapters with weights, and a probe of a layer. */

import { attach, type AttachOptions } from "../../lib/adapters/attach.ts";
import type { Method } from "../../lib/adapters/method.ts";
import type { SavedAdapter } from "../../lib/adapters/peft.ts";
import { methodByName } from "../../lib/adapters/registry.ts";
import { constantWeights, startingWeights } from "../../lib/adapters/starting_weights.ts";
import { interpretedUpdates } from "../../lib/analysis/updates.ts";
import { streamOf, uniform } from "../../lib/graph/random.ts";
import type { Model, Weight } from "../../lib/models/model.ts";

const target = ["query", "ffn_in"];

/** Adapters whose folders PEFT must load; the first one with everything that targeting has. */
const adapters: Readonly<Record<string, [method: string, options: object]>> = {
  "LoRA with patterns": ["LoRA", {
    target: /query|ffn/,
    r: 4,
    alpha: 8,
    rankPattern: { "ffn.in": 2, ".*n": 3, "f.*": 1 },
    alphaPattern: { query: 5 },
  }],
  "LoRA on names": ["LoRA", { target: ["query", "ffn.in"], r: 3, alpha: 7 }],
  rsLoRA: ["rsLoRA", { target, r: 4, alpha: 6 }],
  DoRA: ["DoRA", { target, r: 4, alpha: 6 }],
  HiRA: ["HiRA", { target, r: 4 }],
  GraLoRA: ["GraLoRA", { target, r: 4, alpha: 6, blocks: 4 }],
};

/** Every reference adapter on `model`, none of its tensors left at zero. */
export function referenceAdapters(model: Model): Map<string, SavedAdapter> {
  return new Map(
    Object.entries(adapters).map(([name, [method, options]]) => {
      const adapter = attach(model, methodByName(method) as Method, options as AttachOptions);
      const weights = [...startingWeights(model, adapter, 0)].map(
        ([tensor, { shape, data }]): [string, Weight] => {
          const drawn = uniform(5, streamOf(`${name} ${tensor}`), data.length, 0.3);
          return [tensor, { shape, data: data.map((value, i) => value + drawn[i]) }];
        },
      );
      return [name, { adapter, weights: new Map(weights) }];
    }),
  );
}

/** (W + ΔW) v of every adapted layer, v_j = cos j: what PEFT's merged layer makes of the same vector without its bias. */
export function probed(model: Model, { adapter, weights }: SavedAdapter): Record<string, number[]> {
  const all = new Map([...constantWeights(model, adapter), ...weights]);
  const updates = interpretedUpdates(model, adapter, all);
  return Object.fromEntries(
    [...updates].map(([path, { values, m, n }]) => {
      const base = model.weights.get(`${path}.weight`)!.data;
      const row = (i: number) =>
        Array.from({ length: n }, (_, j) => (values[i * n + j] + base[i * n + j]) * Math.cos(j))
          .reduce((sum, value) => sum + value, 0);
      return [path, Array.from({ length: m }, (_, i) => row(i))];
    }),
  );
}
