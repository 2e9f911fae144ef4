/** Traces one step: from tokens through the model and its adapter to an objective's predictions and loss. */

import type { Adapter } from "../adapters/attach.ts";
import { tracer } from "../adapters/trace.ts";
import { type DType, Graph, type Tensor } from "../graph/graph.ts";
import { add } from "../graph/ops/binary.ts";
import { weightOfLoss } from "../graph/ops/losses.ts";
import type { Model, Tokens } from "../models/model.ts";
import type { BatchShape, Objective } from "../objectives/objective.ts";

/** The traced step. Its inputs by name: those of `Tokens`, clock, and the ones that the objective asks for. */
export interface TracedStep {
  readonly graph: Graph;
  /** The objective's predictions. */
  readonly predictions: Tensor;
  /** The objective's loss and the terms that the method adds (see `Site.addLoss`); `loss` is their sum. */
  readonly losses: readonly Tensor[];
  readonly loss: Tensor;
  /** [1]: the weight that the objective's loss, a mean, divides by. */
  readonly weight: Tensor;
  /** [2] u32: seed and step. */
  readonly clock: Tensor;
}

/** The inputs for a batch of sequences. */
export function tokenInputs(graph: Graph, sequences: number, length: number): Tokens {
  const [ids, places, types] = ["ids", "places", "types"].map((name) =>
    graph.input(name, [sequences, length], "u32")
  );
  return { ids, places, types, lengths: graph.input("lengths", [sequences], "u32") };
}

/** Traces a step; in training, dropout is applied. */
export function traceStep(
  model: Model,
  adapter: Adapter,
  objective: Objective,
  shape: BatchShape,
  training: boolean,
  storage?: (name: string) => DType,
): TracedStep {
  const graph = new Graph();
  const clock = graph.input("clock", [2], "u32");
  const tokens = tokenInputs(graph, shape.examples * objective.sequences, shape.length);
  const extra: Tensor[] = [];
  const own = tracer(graph, model, adapter, {
    lengths: tokens.lengths,
    clock: training ? clock : undefined,
    storage,
    addLoss: (term: Tensor) => extra.push(term),
  });
  const hidden = model.trace(own, tokens);
  const { predictions, loss: main } = objective.trace({ graph, tracer: own, tokens, hidden, shape });
  const losses = [main, ...extra];
  const loss = losses.reduce((sum, loss) => add(sum, loss));
  return { graph, predictions, losses, loss, weight: weightOfLoss(main), clock };
}
