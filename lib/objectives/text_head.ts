/** The head of objectives on texts: linear layers on the vectors of an example's sequences. */

import { sizeOf, type Tensor } from "../graph/graph.ts";
import { linear } from "../graph/ops/product/product.ts";
import type { Model } from "../models/model.ts";
import { type ParameterSpec, zeros } from "../models/parameter.ts";
import { vectorsOf } from "../models/pooling.ts";
import type { InputArrays, Objective, ObjectiveStep } from "./objective.ts";

/** How objectives on texts differ. */
export interface TextObjective {
  /** `description`'s entries. */
  readonly description: Readonly<Record<string, unknown>>;
  /** Texts of an example. */
  readonly texts: number;
  /** Outputs of the head's projection. */
  readonly outputs: number;
  /** Rows of the projection for each example: one, or one for each option. */
  readonly rows: number;
  /** What its labels are: class numbers, or values. */
  readonly labels: "classes" | "values";
  /** [rows, outputs], labels [examples] and weights [examples] → [1]. */
  loss(predictions: Tensor, labels: Tensor, weights: Tensor): Tensor;
  /** Says what is wrong with a label, if anything is. */
  faultOf(label: number): string | undefined;
  /** As in `Objective`. */
  decide(values: Float32Array): number;
}

/**
 * The head's tensors. The head is a linear layer over the vector of a text or joined pair, or over [u, v, |u − v|, u ⊙ v] where
 * the two texts of a pair have separate vectors. If the model's layout has a dense layer, it comes before that.
 */
function headParameters(
  { head: { dense, projection }, width, pairing }: Model,
  texts: number,
  outputs: number,
): Map<string, ParameterSpec> {
  const inputs = width * pairing.vectorsOf(texts);
  const layer = (path: string, outputs: number): [string, ParameterSpec][] => [
    [`${path}.weight`, { shape: [outputs, inputs], init: { kind: "kaiming", fan: inputs } }],
    [`${path}.bias`, { shape: [outputs], init: zeros }],
  ];
  return new Map([...dense ? layer(dense, inputs) : [], ...layer(projection, outputs)]);
}

/** Traces the head on the vectors of the batch's sequences: [examples · rows, outputs]. */
function traceHead(
  model: Model,
  parameters: ReadonlyMap<string, ParameterSpec>,
  texts: number,
  { graph, tracer, tokens, hidden }: ObjectiveStep,
): Tensor {
  const { module, dense, projection } = model.head;
  const weight = (name: string) => graph.weight(name, parameters.get(name)!.shape, true);
  const layer = (path: string, x: Tensor, activation?: "tanh") =>
    graph.scope(
      path,
      () => linear(x, weight(`${path}.weight`), { bias: weight(`${path}.bias`), activation }),
    );
  const vectors = vectorsOf(model, tracer, hidden, tokens);
  const features = graph.scope(module, () => model.pairing.features(vectors, texts));
  return layer(projection, dense ? layer(dense, features, "tanh") : features);
}

/** Numbers of classes as u32, values as f32: the inputs' names and types. */
const labelInputs = {
  classes: { name: "labels", dtype: "u32", Array: Uint32Array },
  values: { name: "targets", dtype: "f32", Array: Float32Array },
} as const;

/** The objective of a head on `model`'s text vectors. */
export function textObjective(model: Model, own: TextObjective): Objective {
  const { texts, outputs, rows } = own;
  const label = labelInputs[own.labels];
  const parameters = headParameters(model, texts, outputs);
  const sequences = model.pairing.sequencesOf(texts);
  const matrices = [...parameters.values()].filter(({ shape }) => shape.length === 2);
  return {
    description: own.description,
    parameters,
    sequences,
    values: rows * outputs,
    multiplyAddsOf: ({ examples }) =>
      examples * rows * matrices.reduce((sum, { shape }) => sum + sizeOf({ shape, dtype: "f32" }), 0),
    placeOf: (row, t, examples) => model.pairing.placeOf(row, t, examples, sequences),
    faultOf: ({ label }) => own.faultOf(label),
    rowsOf: () => 0,
    inputs: ({ examples }): InputArrays => ({
      [label.name]: new label.Array(examples),
      weights: new Float32Array(examples),
    }),
    write(inputs, examples, { examples: size }) {
      for (let row = 0; row < size; row++) {
        inputs[label.name][row] = (examples[row] ?? examples[0]).label;
        inputs.weights[row] = row < examples.length ? 1 : 0;
      }
    },
    trace(step) {
      const { graph, shape: { examples } } = step;
      const predictions = traceHead(model, parameters, texts, step);
      const weights = graph.input("weights", [examples]);
      const loss = own.loss(predictions, graph.input(label.name, [examples], label.dtype), weights);
      return { predictions, loss };
    },
    decide: own.decide,
  };
}

/** Throws an Error unless an example is a text or a pair of texts. */
export function refuseTexts(what: string, texts: number): void {
  if (texts === 1 || texts === 2) return;
  throw new Error(`${what} is of a text or of a pair of texts, and these examples have ${texts}`);
}

/** Says what is wrong with the number of one of `count` classes, if anything is. */
export function faultOfClass(label: number, count: number): string | undefined {
  const isOne = Number.isInteger(label) && label >= 0 && label < count;
  return isOne ? undefined : `label ${label} is not one of 0 … ${count - 1}`;
}

/** The index of the highest score; of equal ones, the first. */
export function highest(scores: Float32Array): number {
  return scores.indexOf(Math.max(...scores));
}
