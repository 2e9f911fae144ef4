/** Traces one step of a task: from texts through the encoder and a linear head to predictions and a loss. */

import type { Adapter } from "../adapters/attach.ts";
import { tracer } from "../adapters/trace.ts";
import { type ParameterSpec, zeros } from "../adapters/method.ts";
import type { Task } from "../data/task.ts";
import { type DType, Graph, type Tensor } from "../graph/graph.ts";
import { add } from "../graph/ops/binary.ts";
import { compareFeatures } from "../graph/ops/compare_features.ts";
import { crossEntropy, meanSquaredError, weightOfLoss } from "../graph/ops/losses.ts";
import { linear } from "../graph/ops/product/product.ts";
import { type Encoder, headLayoutOf } from "../models/model.ts";

/** What the head depends on in a task. */
export interface HeadShape {
  /** Single texts, pairs of texts, or a choice among options. */
  readonly shape: Task["shape"];
  /** What training minimises. */
  readonly objective: Task["objective"];
  /** Texts per example: 1, 2, or 1 + the number of options. */
  readonly texts: number;
  /** Outputs of the last linear layer: the number of classes, or 1 for regression and choice. */
  readonly outputs: number;
}

/** The size of a step's batch. */
export interface StepShape {
  /** Examples per batch. */
  readonly examples: number;
  /** Tokens per text, padding included. */
  readonly length: number;
}

/**
 * The traced step. Its inputs by name: ids, lengths, clock, and the positions and token types that the model
 * asks for. The loss also needs labels or targets, and the examples' weights.
 */
export interface TracedStep {
  readonly graph: Graph;
  /** [examples, outputs]; for choice [examples·options, 1]. */
  readonly predictions: Tensor;
  /** The task's loss and the terms that the method adds (see `Site.addLoss`); `loss` is their sum. */
  readonly losses: readonly Tensor[];
  readonly loss: Tensor;
  /** [1]: the sum of the examples' weights. The task's loss is the mean over it. */
  readonly weight: Tensor;
  /** [2] u32: seed and step. */
  readonly clock: Tensor;
}

/** Token sequences per example: the number of texts, or one fewer where two texts form one sequence. */
export function sequencesOf({ tokenizePair }: Encoder, { shape, texts }: HeadShape): number {
  return tokenizePair && shape !== "single" ? texts - 1 : texts;
}

/** True if the head compares the vectors of two texts. */
function compares({ tokenizePair }: Encoder, { shape }: HeadShape): boolean {
  return !tokenizePair && shape !== "single";
}

/**
 * The head's tensors. The head is a linear layer over the vector of a text or joined pair, or over [u, v, |u
 * − v|, u ⊙ v] where the two texts of a pair have separate vectors. If the model's layout has a dense layer,
 * it comes before that.
 */
export function headParameters(model: Encoder, head: HeadShape): Map<string, ParameterSpec> {
  const { dense, projection } = headLayoutOf(model);
  const width = model.width * (compares(model, head) ? 4 : 1);
  const layer = (path: string, outputs: number): [string, ParameterSpec][] => [
    [`${path}.weight`, { shape: [outputs, width], init: { kind: "kaiming", fan: width } }],
    [`${path}.bias`, { shape: [outputs], init: zeros }],
  ];
  return new Map([...dense ? layer(dense, width) : [], ...layer(projection, head.outputs)]);
}

/**
 * Traces a step. Texts are ordered example by example. If the head compares two texts, the first texts of all
 * examples come before the others (see `compareFeatures`).
 */
export function traceStep(
  model: Encoder,
  adapter: Adapter,
  head: HeadShape,
  { examples, length }: StepShape,
  training: boolean,
  storage?: (name: string) => DType,
): TracedStep {
  const graph = new Graph();
  const texts = examples * sequencesOf(model, head);
  const clock = graph.input("clock", [2], "u32");
  const ids = graph.input("ids", [texts, length], "u32");
  for (const name of ["places", "types"]) graph.input(name, [texts, length], "u32");
  const lengths = graph.input("lengths", [texts], "u32");
  const extra: Tensor[] = [];
  const context = {
    lengths,
    clock: training ? clock : undefined,
    storage,
    addLoss: (term: Tensor) => extra.push(term),
  };
  const pooled = model.trace(tracer(graph, model, adapter, context), ids, lengths);
  const parameters = headParameters(model, head);
  const weight = (name: string) => graph.weight(name, parameters.get(name)!.shape, true);
  const layer = (path: string, x: Tensor, activation?: "tanh") =>
    graph.scope(
      path,
      () => linear(x, weight(`${path}.weight`), { bias: weight(`${path}.bias`), activation }),
    );
  const { module, dense, projection } = headLayoutOf(model);
  const features = compares(model, head)
    ? graph.scope(module, () => compareFeatures(pooled, head.texts - 1))
    : pooled;
  const predictions = layer(projection, dense ? layer(dense, features, "tanh") : features);
  const weights = graph.input("weights", [examples]);
  const taskLoss = head.objective === "regression"
    ? meanSquaredError(predictions, graph.input("targets", [examples]), weights)
    : crossEntropy(predictions, graph.input("labels", [examples], "u32"), weights);
  const losses = [taskLoss, ...extra];
  const loss = losses.reduce((sum, loss) => add(sum, loss));
  return { graph, predictions, losses, loss, weight: weightOfLoss(taskLoss), clock };
}
