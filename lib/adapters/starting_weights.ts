/** Initial values of all tensors of an adapter. */

import type { Model, Weight } from "../models/model.ts";
import type { ParameterSpec } from "../models/parameter.ts";
import type { Adapter } from "./attach.ts";
import { initialise } from "./initialise.ts";
import { moduleOf } from "./names.ts";

/** Initial values of the adapter's trainable tensors, and the current values of the trained base weights. */
export function startingWeights(model: Model, adapter: Adapter, seed: number): Map<string, Weight> {
  const drawn = drawnWeights(model, adapter, adapter.parameters, seed);
  return new Map([
    ...drawn,
    ...[...adapter.trainedBase].map((name): [string, Weight] => [name, model.weights.get(name)!]),
  ]);
}

/** The adapter's frozen tensors. They do not depend on the seed, so a saved adapter need not contain them. */
export function constantWeights(model: Model, adapter: Adapter): Map<string, Weight> {
  return drawnWeights(model, adapter, adapter.constants, 0);
}

function drawnWeights(
  model: Model,
  { modules }: Adapter,
  specs: ReadonlyMap<string, ParameterSpec>,
  seed: number,
): Map<string, Weight> {
  return new Map([...specs].map(([name, spec]) => {
    const owner = modules.find(({ module }) => module.path === moduleOf(name));
    return [name, initialise(name, spec, seed, owner && model.weights.get(`${owner.module.path}.weight`))];
  }));
}
