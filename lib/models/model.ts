/** What a model is to adapters and trainers: weights by name, linear layers by path, and a function that traces it. */

import type { Graph, Tensor } from "../graph/graph.ts";
import type { FusedActivation } from "../graph/ops/product.ts";
import type { PackedWeight } from "./packing.ts";

/** A weight as read from a checkpoint: row-major f32. */
export interface Weight {
  /** Extents, slowest first. */
  readonly shape: readonly number[];
  /** Its values; may be read from a file at each use (see `StoredWeight`): take them once, not in a loop. */
  readonly data: Float32Array<ArrayBuffer>;
}

/** The name that a packed weight's scales go by. */
export function scalesOf(name: string): string {
  return `${name}.scales`;
}

/**
 * The values of a weight.
 * @throws Error when the model has no such weight, or has it packed.
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

/** What a linear layer is for, whatever a model calls it. */
export type LinearRole = "query" | "key" | "value" | "attention output" | "feed-forward" | "other";

/** A linear layer an adapter can attach to: `m` outputs, `n` inputs. */
export interface LinearModule {
  /** Path, such as `layer.0.attention.query`; its last part, or last two joined by `_`, is the target-module name. */
  readonly path: string;
  /** Name users select it by, such as `query` or `ffn_in`. */
  readonly target: string;
  /** What it is for: attention's products are counted by its queries. */
  readonly role: LinearRole;
  /** Outputs. */
  readonly m: number;
  /** Inputs. */
  readonly n: number;
  /** Present where the layer runs once a text (BERT's pooler), not once a token: counts of a token leave it out. */
  readonly perText?: true;
}

/** What a model's forward function is given to trace with. */
export interface Tracer {
  /** Where it is traced. */
  readonly graph: Graph;
  /** A weight by its full name; trainable when the method trains the base. */
  weight(name: string): Tensor;
  /** One of the encoder's constants. */
  constant(name: string): Tensor;
  /** The linear layer at `path` with whatever adapter is attached there: activation(W x + bias + Δ) + residual. */
  linear(path: string, x: Tensor, options?: { activation?: FusedActivation; residual?: Tensor }): Tensor;
}

/** The layers of a task's head, by the names that the model's checkpoints give them. */
export interface HeadLayout {
  /** What PEFT lists among `modules_to_save`; the layers' paths are this or begin with it. */
  readonly module: string;
  /** A layer of the model's width, with tanh, under the projection. */
  readonly dense?: string;
  /** The linear layer to the task's outputs. */
  readonly projection: string;
}

/** The layers of a model's head: those it names, or one named `head`. */
export function headLayoutOf({ head }: Pick<Encoder, "head">): HeadLayout {
  return head ?? { module: "head", projection: "head" };
}

/** Paths of the linear layers of a model's head, the first one first. */
export function headPathsOf(model: Pick<Encoder, "head">): string[] {
  const { dense, projection } = headLayoutOf(model);
  return [...dense ? [dense] : [], projection];
}

/** Two texts in one sequence of tokens. */
export interface PairTokens {
  /** Token ids of the whole sequence, marks included. */
  readonly ids: number[];
  /** Where the tokens of type 1 begin, in models that have two types of token. */
  readonly second?: number;
}

/** An encoder of texts: token ids in, one vector a text out. */
export interface Encoder {
  /** Name in results and in saved adapters. */
  readonly name: string;
  /** By full name, linear layers as [outputs, inputs]. */
  readonly weights: ReadonlyMap<string, Weight>;
  /** Weights of linear layers that are stored in fewer bits, by name; they are not among `weights` (see `packModel`). */
  readonly packed?: ReadonlyMap<string, PackedWeight>;
  /** Tables that no method trains, such as fixed position signals. */
  readonly constants: ReadonlyMap<string, Weight>;
  /** The layers an adapter can attach to. */
  readonly linears: readonly LinearModule[];
  /**
   * Paths of layers whose weights the checkpoint lacks: they are drawn, alike at every load. No adapter attaches to them; each
   * trains them whole and saves them, as if they were among its `modulesToSave`.
   */
  readonly fresh?: readonly string[];
  /** Width of the vector a text becomes. */
  readonly width: number;
  /** Multiply-adds of one token through the linear layers (attention's own products, which grow with length, left out). */
  readonly multiplyAddsPerToken: number;
  /** Rows of its table of tokens: every id is below. */
  readonly vocabulary: number;
  /** Tokens of the longest sequence that the model has positions for, where it has a table of them. */
  readonly maxTokens?: number;
  /** What the trunk is called in a model with a head; paths in a bare trunk lack it. Absent where there is but one form. */
  readonly trunk?: string;
  /** Head of the tasks this model is trained for; one linear layer named `head` where absent. */
  readonly head?: HeadLayout;
  /** Token ids of a text, at least one and at most `maxTokens`. */
  tokenize(text: string, maxTokens?: number): number[];
  /**
   * Two texts as one sequence of at most `maxTokens`, the longer one cut first. Where a model has none, the texts of a pair
   * are sequences of their own, and the head compares their vectors.
   */
  tokenizePair?(first: string, second: string, maxTokens: number): PairTokens;
  /** The place of each token of a text, as `trace` takes it; counted from 0 where the model says nothing. */
  placesOf?(ids: readonly number[]): number[];
  /**
   * ids [texts, length] u32 and lengths [texts] u32 → [texts, width]. Two more inputs of the graph are there to be asked for,
   * both [texts, length] u32: `places`, what `placesOf` gives, and `types`, 1 from `PairTokens.second` on, else 0.
   */
  trace(tracer: Tracer, ids: Tensor, lengths: Tensor): Tensor;
}
