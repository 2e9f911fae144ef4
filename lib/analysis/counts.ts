/** Parameters and multiply-adds of a method on a model, from shapes alone. */

import { resolveOptions, selectModules } from "../adapters/attach.ts";
import type { AdapterOptions, Method } from "../adapters/method.ts";
import type { ModelShape } from "./shapes.ts";

/** What a method costs on a model. Multiply-adds are per token; one multiply-add is two FLOPs. */
export interface Count {
  /** Trainable parameters, the task's head left out. */
  readonly trainable: number;
  /** The trunk's linear layers: Σ mn. */
  readonly baseForward: number;
  /** What the adapters add to that. */
  readonly adapterForward: number;
  /** Forward and backward of a training step. */
  readonly trainingStep: number;
}

/**
 * Counts `method` on the layers of `model` that `target` selects. A backward pass costs one product for the input's
 * gradient and one for each weight that is trained, so a frozen layer costs 2mn a step, a trained one 3mn, an adapter
 * three times its forward pass; where only the head is trained nothing goes back through the trunk. Attention's own
 * products, which grow with length, are left out; the first layer's input gradient, which training may skip, is not.
 * @throws Error as `attach` does, when a target or an option does not fit.
 */
export function countMethod(
  model: ModelShape,
  method: Method,
  options: Partial<AdapterOptions>,
  target: readonly string[] | RegExp,
): Count {
  const all = resolveOptions(options);
  const modules = selectModules(model, target);
  const parametersOf = (module: (typeof modules)[number]) =>
    Object.values(method.parameters(module, all)).reduce(
      (sum, { shape }) => sum + shape.reduce((product, extent) => product * extent, 1),
      0,
    );
  const baseForward = model.linears.reduce((sum, { m, n }) => sum + m * n, 0);
  const adapterForward = modules.reduce((sum, module) => sum + method.multiplyAdds(module, all), 0);
  const trainable = method.trainsBase
    ? model.parameters
    : modules.reduce((sum, module) => sum + parametersOf(module), 0);
  const passes = method.trainsBase ? 3 : trainable > 0 ? 2 : 1;
  return {
    trainable,
    baseForward,
    adapterForward,
    trainingStep: passes * baseForward + 3 * adapterForward,
  };
}
