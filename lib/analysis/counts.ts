/** Parameters and multiply-adds of a method on a model, from shapes alone. */

import type { Method } from "../adapters/method.ts";
import { fullName } from "../adapters/names.ts";
import { resolveOptions } from "../adapters/options.ts";
import { adaptedModules, type Targeting } from "../adapters/targeting.ts";
import type { ModelShape } from "./shapes.ts";

/** What a method costs on a model. Multiply-adds are per token; one multiply-add is two FLOPs. */
export interface Count {
  /** Trainable parameters, the task's head left out. */
  readonly trainable: number;
  /** The trunk's linear layers: Σ mn. */
  readonly baseForward: number;
  /** What the adapters add to that. */
  readonly adapterForward: number;
  /** Forward and backward of a training step, of which the part that is done once a step is shared by its tokens. */
  readonly trainingStep: number;
  /** Products of a base layer in a training step: 3 where it is trained, 2 where it is frozen, 1 where nothing goes back. */
  readonly passes: number;
}

/**
 * Counts `method` on the layers of `model` that `targeting` selects, for steps of `tokens` tokens. A backward pass costs
 * one product for the input's gradient and one for each weight that is trained, so a frozen layer costs 2mn a step, a
 * trained one 3mn; where only the head is trained nothing goes back through the trunk. Attention's own products, which
 * grow with length, are left out, and so are layers that run once a text; the first layer's input gradient, which training
 * may skip, is not.
 * @throws Error as `attach` does, when a target or an option does not fit.
 */
export function countMethod(
  model: ModelShape,
  method: Method,
  options: object,
  targeting: Targeting,
  tokens: number,
): Count {
  const modules = adaptedModules(model, method, resolveOptions(method, options), targeting);
  const all = modules.map(({ module }) => module);
  const sizes = new Map(
    modules.flatMap(({ module, options }) =>
      Object.entries(method.parameters(module, options, all))
        .filter(([, { frozen }]) => !frozen)
        .map(([name, spec]): [string, number] => [
          fullName(module, name, spec),
          spec.shape.reduce((product, extent) => product * extent, 1),
        ])
    ),
  );
  const baseForward = model.linears.filter(({ perText }) => !perText).reduce(
    (sum, { m, n }) => sum + m * n,
    0,
  );
  const costs = modules.map(({ module, options }) => {
    const cost = method.cost(module, options);
    return module.perText ? { ...cost, forward: 0, backward: 0 } : cost;
  });
  const sum = (of: "forward" | "backward" | "step") => costs.reduce((total, cost) => total + cost[of], 0);
  const trainable = method.trainsBase
    ? model.parameters
    : [...sizes.values()].reduce((total, size) => total + size, 0);
  const passes = method.trainsBase ? 3 : trainable > 0 ? 2 : 1;
  return {
    trainable,
    baseForward,
    adapterForward: sum("forward"),
    trainingStep: passes * baseForward + sum("forward") + sum("backward") + sum("step") / tokens,
    passes,
  };
}

/**
 * Attention's own products, a token of a text of `length` tokens: Q·Kᵀ and the mix of V, each length·d a layer. Backward there
 * are twice as many: dP and dV, dQ and dK. A kernel that computes the scores anew there does more than this counts.
 */
export function attentionForward({ linears }: Pick<ModelShape, "linears">, length: number): number {
  const widths = linears.filter(({ role }) => role === "query").reduce((sum, { m }) => sum + m, 0);
  return 2 * length * widths;
}
