/**
 * The interface of a model to adapters and trainers: weights by name, linear layers by path, and a function
 * that builds its graph.
 */

import type { Graph, Tensor } from "../graph/graph.ts";
import type { FusedActivation } from "../graph/ops/product/epilogue.ts";
import type { PackedWeight } from "./packing.ts";
import type { SentencePooling } from "./sentence_pooling.ts";

/** A weight as float32, row-major. */
export interface Weight {
  /** Dimensions, outermost first (row-major). */
  readonly shape: readonly number[];
  /**
   * The values. Each access may read them from disk (see `StoredWeight`), so do not access this in a loop.
   */
  readonly data: Float32Array<ArrayBuffer>;
}

/** The name of a packed weight's scales. */
export function scalesOf(name: string): string {
  return `${name}.scales`;
}

/**
 * The values of a weight.
 * @throws Error when the model has no such weight, or has it only in packed form.
 */
export function denseWeight({ name: model, weights, packed }: Encoder, name: string): Weight {
  const found = weights.get(name);
  if (found) return found;
  const { packing } = packed?.get(name) ?? {};
  throw new Error(
    packing
      ? `${model}'s "${name}" is packed as ${packing}, and its values are wanted here: use the model that is not packed`
      : `${model} has no weight "${name}"`,
  );
}

/** The role of a linear layer in the transformer, independent of the model's own names. */
export type LinearRole = "query" | "key" | "value" | "attention output" | "feed-forward" | "other";

/** A linear layer that an adapter can be attached to, with weight [m, n]. */
export interface LinearModule {
  /**
   * Path of the layer, such as `layer.0.attention.query`. The target-module name is its last part, or its
   * last two joined by `_`.
   */
  readonly path: string;
  /** Target-module name for `attach`, such as `query` or `ffn_in`. */
  readonly target: string;
  /** Role in the transformer. Query layers are used to count attention's products. */
  readonly role: LinearRole;
  /** Number of outputs. */
  readonly m: number;
  /** Number of inputs. */
  readonly n: number;
  /**
   * True for a layer that runs once per text instead of once per token (BERT's pooler). Per-token counts
   * leave it out.
   */
  readonly perText?: true;
}

/** What a model's `trace` function uses to build its graph. */
export interface Tracer {
  /** The graph being built. */
  readonly graph: Graph;
  /** A weight by its full name; trainable if the method trains the base. */
  weight(name: string): Tensor;
  /** One of the encoder's constants, by name. */
  constant(name: string): Tensor;
  /** The linear layer at `path` including any adapter: activation(W x + bias + ΔW x) + residual. */
  linear(path: string, x: Tensor, options?: { activation?: FusedActivation; residual?: Tensor }): Tensor;
}

/** The layers of the model's classification head, by their names in the model's checkpoints. */
export interface HeadLayout {
  /** The module's name in PEFT's `modules_to_save`. The layers' paths are this name or begin with it. */
  readonly module: string;
  /** A dense layer with tanh before the projection, as wide as the model, if there is one. */
  readonly dense?: string;
  /** The linear layer that gives the task's outputs. */
  readonly projection: string;
}

/** The layers of the model's head; by default one linear layer named `head`. */
export function headLayoutOf({ head }: Pick<Encoder, "head">): HeadLayout {
  return head ?? { module: "head", projection: "head" };
}

/** Paths of the linear layers of the model's head, in forward order. */
export function headPathsOf(model: Pick<Encoder, "head">): string[] {
  const { dense, projection } = headLayoutOf(model);
  return [...dense ? [dense] : [], projection];
}

/** Two texts encoded as one token sequence. */
export interface PairTokens {
  /** Token ids of the whole sequence, including special tokens. */
  readonly ids: number[];
  /** Index of the first token with token type 1, in models with two token types. */
  readonly second?: number;
}

/** A text encoder: it maps token ids to one vector per text. */
export interface Encoder {
  /** Name in results and in saved adapters. */
  readonly name: string;
  /** Weights by full name. Linear layers are [outputs, inputs]. */
  readonly weights: ReadonlyMap<string, Weight>;
  /** Packed weights of linear layers by full name (see `packModel`). They are not in `weights`. */
  readonly packed?: ReadonlyMap<string, PackedWeight>;
  /** Tables that no method trains, such as sinusoidal positions. */
  readonly constants: ReadonlyMap<string, Weight>;
  /** The linear layers that an adapter can be attached to. */
  readonly linears: readonly LinearModule[];
  /**
   * Paths of layers that the checkpoint lacks. They are newly initialised, with the same values at every
   * load. No adapter is attached to them; instead they are fully trained and saved, as if listed in
   * `modulesToSave`.
   */
  readonly fresh?: readonly string[];
  /** Size of a text's vector. */
  readonly width: number;
  /**
   * Multiply-adds per token in the linear layers. Attention's own products, which grow with the sequence
   * length, are not counted.
   */
  readonly multiplyAddsPerToken: number;
  /** Size of the vocabulary: every token id is below it. */
  readonly vocabulary: number;
  /** Longest sequence, in tokens, that the model's position table allows; absent without such a table. */
  readonly maxTokens?: number;
  /**
   * Name of the trunk in a model with a head, such as `roberta`; paths in a bare trunk lack it. Absent for
   * models that exist in one form only.
   */
  readonly trunk?: string;
  /** How tokens are pooled, if its folder asks for another way than its class in transformers has. */
  readonly pooling?: SentencePooling;
  /** The classification head's layers; if absent, one linear layer named `head`. */
  readonly head?: HeadLayout;
  /**
   * Token ids of a text: at least one and at most `maxTokens`, special tokens included. Longer texts are
   * truncated.
   */
  tokenize(text: string, maxTokens?: number): number[];
  /**
   * Encodes two texts as one sequence of at most `maxTokens` tokens, truncating the longer text first. If the
   * model lacks this function, each text of a pair is a sequence of its own, and the head compares the two
   * vectors.
   */
  tokenizePair?(first: string, second: string, maxTokens: number): PairTokens;
  /** The row of the position table for each token. If absent, positions count from 0. */
  placesOf?(ids: readonly number[]): number[];
  /**
   * Builds the graph: ids [texts, length] u32 and lengths [texts] u32 → [texts, width]. It may use two more
   * inputs of the graph, both [texts, length] u32: `places`, from `placesOf`, and `types`, 1 from
   * `PairTokens.second` on, otherwise 0.
   */
  trace(tracer: Tracer, ids: Tensor, lengths: Tensor): Tensor;
}
