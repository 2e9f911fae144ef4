/** Counts a method's parameters and multiply-adds on a model, from shapes alone. */

import type { Method } from "../adapters/method.ts";
import { fullName, moduleOf } from "../adapters/names.ts";
import { resolveOptions } from "../adapters/options.ts";
import { adaptedModules, isWithin, type Targeting } from "../adapters/targeting.ts";
import type { ModelShape } from "./shapes.ts";

/** A method's cost on a model. Multiply-adds are per token; one multiply-add is two FLOPs. */
export interface Count {
  /** Trainable parameters, those of `modulesToSave` included, without the task's head. */
  readonly trainable: number;
  /** Forward pass of the trunk's linear layers: Σ mn. */
  readonly baseForward: number;
  /** Forward pass of the adapters, in addition. */
  readonly adapterForward: number;
  /** Forward and backward pass of a training step. Work done once per step is divided by the step's tokens. */
  readonly trainingStep: number;
  /**
   * Matrix products per base layer in a training step: 3 if all are trained, 2 if they are frozen, 1 without a
   * backward pass. Each layer in `modulesToSave` has one more.
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
  const saved = savedWhole(model, targeting);
  const passes = method.trainsBase ? 3 : sizes.size > 0 || saved.inTrunk ? 2 : 1;
  const trainable = method.trainsBase
    ? model.parameters
    : [...sizes.values()].reduce((total, size) => total + size, saved.parameters);
  const savedForward = method.trainsBase ? 0 : saved.forward;
  return {
    trainable,
    baseForward,
    adapterForward: sum("forward"),
    trainingStep: passes * baseForward + savedForward + sum("forward") + sum("backward") +
      sum("step") / tokens,
    passes,
  };
}

/** The base weights that `modulesToSave` selects: their number, the Σ mn of their layers, and whether one is where tokens are. */
function savedWhole({ sizes, linears }: ModelShape, { modulesToSave = [] }: Targeting) {
  const isSaved = (path: string) => modulesToSave.some((module) => isWithin(path, module));
  const names = [...sizes.keys()].filter((name) => isSaved(moduleOf(name)));
  const perText = new Set(linears.filter(({ perText }) => perText).map(({ path }) => path));
  return {
    parameters: names.reduce((total, name) => total + sizes.get(name)!, 0),
    forward: linears.filter(({ path }) => isSaved(path) && !perText.has(path))
      .reduce((total, { m, n }) => total + m * n, 0),
    inTrunk: names.some((name) => !perText.has(moduleOf(name))),
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
