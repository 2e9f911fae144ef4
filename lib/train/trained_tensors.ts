/** The tensors that a run trains: the head, the adapter, and the base weights that the method trains. */

import type { Adapter } from "../adapters/attach.ts";
import { initialise } from "../adapters/initialise.ts";
import { startingWeights } from "../adapters/starting_weights.ts";
import { sizeOf } from "../graph/graph.ts";
import type { Model, Weight } from "../models/model.ts";
import type { Objective } from "../objectives/objective.ts";

/** The initial values of all trainable tensors. */
export function allStartingWeights(
  model: Model,
  adapter: Adapter,
  objective: Objective,
  seed: number,
): Map<string, Weight> {
  const own = [...objective.parameters].map(
    ([name, spec]): [string, Weight] => [name, initialise(name, spec, seed)],
  );
  return new Map([...own, ...startingWeights(model, adapter, seed)]);
}

/**
 * Says which trained tensors get weight decay: all except biases and norms, as in transformers' Trainer
 * (`get_decay_parameter_names`, 5.18). In the base and the head, biases and norms are the tensors with one
 * dimension. An adapter has neither, so all of it decays, as PEFT's adapters do there: DoRA's magnitudes,
 * VeRA's and RandLoRA's vectors and BoRA's σ as well as the factors.
 */
export function isDecayed(model: Model, adapter: Adapter, objective: Objective): (name: string) => boolean {
  return (name) =>
    adapter.parameters.has(name) ||
    (objective.parameters.get(name) ?? model.weights.get(name)!).shape.length > 1;
}

/** Number of trainable parameters of the head. */
export function headSize({ parameters }: Objective): number {
  return [...parameters.values()].reduce(
    (sum, spec) => sum + sizeOf({ ...spec, dtype: "f32" }),
    0,
  );
}
