/** The values an adapter's tensors start from. */

import type { Encoder, Weight } from "../models/model.ts";
import type { Adapter } from "./attach.ts";
import { initialise } from "./initialise.ts";
import type { ParameterSpec } from "./method.ts";
import { moduleOf } from "./names.ts";

/** The adapter's trainable tensors at their starting values, and the base's trained ones as they are. */
export function startingWeights(model: Encoder, adapter: Adapter, seed: number): Map<string, Weight> {
  const drawn = drawnWeights(model, adapter, adapter.parameters, seed);
  return new Map([
    ...drawn,
    ...[...adapter.trainedBase].map((name): [string, Weight] => [name, model.weights.get(name)!]),
  ]);
}

/** The adapter's constants. They do not depend on a seed, so that a saved adapter need not hold them. */
export function constantWeights(model: Encoder, adapter: Adapter): Map<string, Weight> {
  return drawnWeights(model, adapter, adapter.constants, 0);
}

function drawnWeights(
  model: Encoder,
  { modules }: Adapter,
  specs: ReadonlyMap<string, ParameterSpec>,
  seed: number,
): Map<string, Weight> {
  return new Map([...specs].map(([name, spec]) => {
    const owner = modules.find(({ module }) => module.path === moduleOf(name));
    return [name, initialise(name, spec, seed, owner && model.weights.get(`${owner.module.path}.weight`))];
  }));
}
