/** Counts a method's parameters and multiply-adds on a model, from shapes alone. */

import type { Method } from "../adapters/method.ts";
import { fullName } from "../adapters/names.ts";
import { resolveOptions } from "../adapters/options.ts";
import { adaptedModules, type Targeting } from "../adapters/targeting.ts";
import type { ModelShape } from "./shapes.ts";

/** A method's cost on a model. Multiply-adds are per token; one multiply-add is two FLOPs. */
export interface Count {
  /** Trainable parameters, without the task's head. */
  readonly trainable: number;
  /** Forward pass of the trunk's linear layers: Σ mn. */
  readonly baseForward: number;
  /** Forward pass of the adapters, in addition. */
  readonly adapterForward: number;
  /** Forward and backward pass of a training step. Work done once per step is divided by the step's tokens. */
  readonly trainingStep: number;
  /**
   * Matrix products per base layer in a training step: 3 if it is trained, 2 if it is frozen, 1 without a
   * backward pass.
   */
  readonly passes: number;
}

/**
 * Counts `method` on the layers of `model` that `targeting` selects, for steps of `tokens` tokens. A backward
 * pass costs one product for the input's gradient and one for each trained weight. So the forward and
 * backward pass cost 2mn per token for a frozen layer and 3mn for a trained one; if only the head is trained,
 * the trunk has no backward pass. Not counted: attention's own products, which grow with the length, and
 * layers that run once per text. The first layer's input gradient is counted, although training may skip it.
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
 * Multiply-adds of attention's own products, per token of a text of `length` tokens: Q·Kᵀ and P·V, each
 * length·d per layer. The backward pass has twice as many: dP and dV, dQ and dK. A kernel that recomputes the
 * scores in the backward pass does more than this counts.
 */
export function attentionForward({ linears }: Pick<ModelShape, "linears">, length: number): number {
  const widths = linears.filter(({ role }) => role === "query").reduce((sum, { m }) => sum + m, 0);
  return 2 * length * widths;
}
