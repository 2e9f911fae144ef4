/** What a model is trained for: what its hidden rows predict, and what the loss of a prediction is. */

import type { Graph, Tensor } from "../graph/graph.ts";
import type { Model, Tokens, Tracer } from "../models/model.ts";
import type { ParameterSpec } from "../models/parameter.ts";

/** A tokenized example. */
export interface Encoded {
  /**
   * Token ids of each sequence. A sequence is a text or a joined pair, has at least one token, and is
   * truncated to the task's limit.
   */
  readonly texts: readonly (readonly number[])[];
  /** For each sequence that holds two texts, the position where the second one begins (see `Sequence`). */
  readonly seconds?: readonly (number | undefined)[];
  /** The class, the index of the right option, or the value to predict; of a language, how many tokens are learnt. */
  readonly label: number;
  /** Of a language: which tokens are learnt. */
  readonly labelled?: readonly boolean[];
}

/** The size of a step's batch. */
export interface BatchShape {
  /** Examples per batch. */
  readonly examples: number;
  /** Tokens per sequence, padding included. */
  readonly length: number;
  /** Hidden rows that the loss reads, for objectives that do not read all or one a sequence; else 0. */
  readonly rows: number;
}

/** Arrays that a step's inputs are uploaded from, by name. */
export type InputArrays = Readonly<Record<string, Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>>>;

/** What an objective's graph is built from. */
export interface ObjectiveStep {
  /** The graph being built. */
  readonly graph: Graph;
  /** For layers of the model behind its hidden rows, such as a pooler. */
  readonly tracer: Tracer;
  /** The batch's sequences. */
  readonly tokens: Tokens;
  /** The model's hidden rows, [sequences · length, width]. */
  readonly hidden: Tensor;
  /** The size of the batch. */
  readonly shape: BatchShape;
}

/** An objective for one model and one kind of example. */
export interface Objective {
  /** What decides its bits, as JSON values, for checkpoints. */
  readonly description: Readonly<Record<string, unknown>>;
  /** Tensors that are trained and saved beside the adapter, by name: the head. */
  readonly parameters: ReadonlyMap<string, ParameterSpec>;
  /** Token sequences of an example. */
  readonly sequences: number;
  /** Number of values that are predicted for an example. */
  readonly values: number;
  /** Multiply-adds of the forward pass behind the hidden rows, for a batch of this size. */
  multiplyAddsOf(shape: BatchShape): number;
  /** Where in a batch of `examples` sequence `t` of example `row` lies. */
  placeOf(row: number, t: number, examples: number): number;
  /** Says what is wrong with an example's label, if anything is. */
  faultOf(example: Encoded): string | undefined;
  /** The hidden rows that a batch's loss reads (see `BatchShape`), rounded up to one of few numbers. */
  rowsOf(examples: readonly Encoded[]): number;
  /** New arrays for the inputs that `trace` asks for. */
  inputs(shape: BatchShape): InputArrays;
  /** Writes a batch into such arrays. It may have fewer examples than the shape: the others count for nothing. */
  write(inputs: InputArrays, examples: readonly Encoded[], shape: BatchShape): void;
  /**
   * Builds predictions, `values` for each example, and the mean loss [1]. The loss is the first output of an op with `isLoss`, such
   * as `crossEntropy`, whose last output is the weight that the mean divides by (see `weightOfLoss`).
   */
  trace(step: ObjectiveStep): { readonly predictions: Tensor; readonly loss: Tensor };
  /** The prediction that an example's values stand for: a class, an option or a value. */
  decide(values: Float32Array): number;
}

/** A family of objectives. To add one, write a file that exports it and add it to `registry.ts`. */
export interface ObjectiveKind {
  /** transformers' `problem_type`, which tells the loss in a folder's `labels.json`; absent where there is no head. */
  readonly problemType?: "regression" | "single_label_classification";
  /** Names of the head's outputs, for a task with these classes. */
  outputNames(classes: readonly string[]): readonly string[];
  /**
   * The objective for examples of `texts` texts and this many classes (0 where there are none).
   * @throws Error for a number of texts or classes that it is not of.
   */
  of(model: Model, examples: { readonly texts: number; readonly classes: number }): Objective;
}
