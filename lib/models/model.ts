/**
 * The interface of a model to adapters and trainers: weights by name, linear layers by path, and a function
 * that builds its graph.
 */

import type { Graph, Tensor } from "../graph/graph.ts";
import type { FusedActivation } from "../graph/ops/product/epilogue.ts";
import type { StoredTensor } from "../graph/ops/product/product.ts";
import type { Rotation } from "../graph/ops/rotary.ts";
import type { KeysAndValues } from "../graph/ops/write_tokens.ts";
import type { ChatTemplates } from "./chat_template.ts";
import type { DecoderTokenizer } from "./decoder_tokenizer.ts";
import type { MergedAdapter } from "./merged_adapters.ts";
import type { PackedWeight } from "./packing.ts";
import type { Pairing } from "./pairing.ts";
import type { Pooling } from "./pooling.ts";

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
export function denseWeight({ name: model, weights, packed }: Model, name: string): Weight {
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
  /** A table of rows by token, dense or packed, in the parts in which it lies, in order; `first` is a part's first row. */
  table(name: string): { readonly weight: Tensor | StoredTensor; readonly first: number }[];
  /** One of the model's constants, by name. */
  constant(name: string): Tensor;
  /** The linear layer at `path` including any adapter: activation(W x + bias + ΔW x) + residual. */
  linear(path: string, x: Tensor, options?: { activation?: FusedActivation; residual?: Tensor }): Tensor;
}

/** The layers of a head on text vectors, by their names in the model's checkpoints. */
export interface HeadLayout {
  /** The module's name in PEFT's `modules_to_save`. The layers' paths are this name or begin with it. */
  readonly module: string;
  /** A dense layer with tanh before the projection, as wide as the model, if there is one. */
  readonly dense?: string;
  /** The linear layer that gives the task's outputs. */
  readonly projection: string;
}

/** The head of models for which no checkpoint format knows one: a linear layer named `head`. */
export const plainHead: HeadLayout = { module: "head", projection: "head" };

/** Paths of a head's linear layers, in forward order. */
export function headPathsOf({ dense, projection }: HeadLayout): string[] {
  return [...dense ? [dense] : [], projection];
}

/** A token sequence that the model reads: a text, or two texts joined. */
export interface Sequence {
  /** Token ids, special tokens included. */
  readonly ids: number[];
  /** Index of the first token with token type 1, in models with two token types. */
  readonly second?: number;
}

/** Turns texts into the ids of a model's tokens. */
export interface Tokenizer {
  /**
   * Token ids of a text: at least one and at most `maxTokens` (by default as many as the model can take),
   * special tokens included. Longer texts are truncated.
   */
  encode(text: string, maxTokens?: number): number[];
}

/** Keys and values of earlier tokens, which a causal model attends to as well. */
export interface Cache {
  /**
   * Attention of the queries of new tokens to the keys and values of their texts so far, their own included: q
   * [tokens, heads·headSize], keys and values [tokens, kvHeads·headSize] of the layer at `path`, queries and keys still to be rotated
   * → as q.
   */
  attend(path: string, q: Tensor, tokens: KeysAndValues, options: CachedAttention): Tensor;
}

/** What attention over a cache needs beside its rows. */
export interface CachedAttention {
  /** Number of query heads. */
  readonly heads: number;
  /** Number of key and value heads. */
  readonly kvHeads: number;
  /** Factor of the scores q·k. */
  readonly scale: number;
  /** How many tokens a token attends to, itself included; Infinity for all. */
  readonly window: number;
  /** What queries and keys are rotated by. */
  readonly rotation: Rotation;
}

/** A batch of padded token sequences, as inputs of the graph. */
export interface Tokens {
  /** [sequences, length] u32. */
  readonly ids: Tensor;
  /** Tokens of each sequence without padding, [sequences] u32. */
  readonly lengths: Tensor;
  /** Rows of the position table, from `Model.placesOf`, [sequences, length] u32. */
  readonly places: Tensor;
  /** 1 from `Sequence.second` on, otherwise 0: [sequences, length] u32. */
  readonly types: Tensor;
  /** In generation: what earlier tokens left. */
  readonly cache?: Cache;
}

/** What a causal model has beside its trunk: the language that it reads and writes. */
export interface Language {
  /** Turns texts into ids and back. */
  readonly tokenizer: DecoderTokenizer;
  /** How conversations are written, if the model says. */
  readonly templates: ChatTemplates | undefined;
  /** The table whose products with a hidden row are the logits of the next token (see `Tracer.table`). */
  readonly output: string;
  /** Its layers, and the width of a token's keys and of its values in each. */
  readonly cached: { readonly layers: number; readonly width: number };
}

/** A model: it maps token sequences to a hidden row per token. */
export interface Model {
  /** Name in results and in messages. */
  readonly name: string;
  /** Its id on the Hugging Face hub, where that is known: with it, others find the base of an adapter. */
  readonly hubId?: string;
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
  /** What its norms' weights are more than those of transformers' files: 1 for a Gemma in GGUF, 0 if absent. */
  readonly normShift?: number;
  /** Adapters that its files have merged in, as `saveMerged` and `saveMergedGguf` note them. None of them is loaded again. */
  readonly merged?: readonly MergedAdapter[];
  /** Size of a hidden row, and of a text's vector. */
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
  /** How the hidden rows of a sequence become its vector. */
  readonly pooling: Pooling;
  /** True if its folder asks for another pooling than its class in transformers has. */
  readonly pooledByFolder?: true;
  /** Path of the linear layer with tanh that the pooled row goes through, as in BERT, if there is one. */
  readonly pooler?: string;
  /** The layers of its head. */
  readonly head: HeadLayout;
  /** Turns texts into ids. */
  readonly tokenizer: Tokenizer;
  /** How it reads examples of more than one text. */
  readonly pairing: Pairing;
  /** The row of the position table for each token. If absent, positions count from 0. */
  placesOf?(ids: readonly number[]): number[];
  /** In causal models: what they read and write. */
  readonly language?: Language;
  /** Builds the graph: tokens → hidden rows, [sequences · length, width]. */
  trace(tracer: Tracer, tokens: Tokens): Tensor;
}

/** A causal model. */
export type Decoder = Model & { readonly language: Language };
