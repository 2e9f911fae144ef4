/**
 * The interface of a fine-tuning method, and the only thing the trainer, the reports and the benches know of one. To
 * add a method: a file that exports a `Method`, and one line in `registry.ts`.
 */

import type { Tensor } from "../graph/graph.ts";
import type { LinearModule, Weight } from "../models/model.ts";

/** What every method's hyper-parameters have in common: dropout on the adapter's input, in training (0 where absent). */
export interface AdapterOptions {
  /** Share of the adapter's inputs that are dropped. */
  readonly dropout?: number;
}

/** Hyper-parameters of a low-rank update. */
export interface LowRankOptions extends AdapterOptions {
  /** Rank r of the low-rank factors. */
  readonly r: number;
  /** α; the update is scaled by s = α / r. */
  readonly alpha: number;
  /** Share of the adapter's inputs that are dropped. */
  readonly dropout: number;
}

/** Hyper-parameters of a low-rank update in blocks. */
export interface BlockOptions extends LowRankOptions {
  /** Blocks b: a number that divides both extents of every target, or "auto" (see `blocks.ts`). */
  readonly blocks: number | "auto";
}

/** PEFT's r and dropout, α = 2r as the LoRA paper's GLUE runs have it. */
export const lowRankDefaults: LowRankOptions = { r: 8, alpha: 16, dropout: 0 };

/** `lowRankDefaults`, and as many blocks as fit the layer: no number divides the extents of every model. */
export const blockDefaults: BlockOptions = { ...lowRankDefaults, blocks: "auto" };

/** How an adapter's tensor starts. */
export type Initializer =
  | { readonly kind: "constant"; readonly value: number }
  /** Kaiming uniform with a = √5, as PyTorch's nn.Linear: U(−1/√fan, +1/√fan). */
  | { readonly kind: "kaiming"; readonly fan: number }
  /** The top-left corner of a random matrix of `columns` columns, U(−bound, bound): layers of several sizes share it. */
  | { readonly kind: "corner"; readonly columns: number; readonly bound: number }
  /** A constant that all layers of one size share. */
  | { readonly kind: "given"; readonly values: () => Float32Array<ArrayBuffer> }
  /** Computed from the layer's own weight. */
  | { readonly kind: "fromWeight"; readonly values: (weight: Weight) => Float32Array<ArrayBuffer> };

/** Every entry 0. */
export const zeros: Initializer = { kind: "constant", value: 0 };

/** One of an adapter's tensors. */
export interface ParameterSpec {
  /** Extents, slowest first. */
  readonly shape: readonly number[];
  /** How its values start. */
  readonly init: Initializer;
  /** A constant that is drawn once and never trained. */
  readonly frozen?: true;
  /** The tensor's name when all layers share it; otherwise each layer has its own. */
  readonly shared?: string;
}

/** An adapter's tensors by name. */
export type ParameterSpecs = Readonly<Record<string, ParameterSpec>>;

/** One adapted linear layer while the model is being traced. */
export interface Site<O extends AdapterOptions = AdapterOptions> {
  /** The layer. */
  readonly module: LinearModule;
  /** The method's options there. */
  readonly options: O;
  /** The layer's input: [tokens, n]. */
  readonly x: Tensor;
  /** The adapter's input: x after adapter dropout (x itself in evaluation). */
  readonly dropped: Tensor;
  /** The base weight W [m, n]. */
  readonly weight: Tensor;
  /** Its bias [m], where it has one. */
  readonly bias?: Tensor;
  /** What is added to the output [tokens, m], if anything. */
  readonly residual?: Tensor;
  /** The adapter's own tensors, by the names `parameters` gave them. */
  readonly parameters: Readonly<Record<string, Tensor>>;
  /** Tokens of each text, [texts] u32: which rows of x are not padding. Absent where each row is a text. */
  readonly lengths?: Tensor;
  /** W x + bias + residual, the layer without its adapter: [tokens, m]. */
  base(): Tensor;
  /** W x alone: [tokens, m]. */
  product(): Tensor;
  /** Adds a scalar [1] to the training loss. */
  addLoss(loss: Tensor): void;
}

/** Multiply-adds of one adapted layer beyond the frozen layer's own; one multiply-add is two FLOPs. */
export interface Cost {
  /** A token's, forward. */
  readonly forward: number;
  /** A token's, backward: every gradient the method needs beyond the frozen layer's Wᵀ·G. */
  readonly backward: number;
  /** Once a training step, whatever the number of tokens: norms, products of weights. */
  readonly step: number;
}

/** How a method's adapters are written in PEFT's folder layout; see `peft.ts`. */
export interface PeftFormat {
  /** `peft_type`. */
  readonly type: string;
  /** The end of each tensor's key, such as `lora_A.weight`. */
  readonly keys: Readonly<Record<string, string>>;
  /** The configuration's name of each hyper-parameter, such as `lora_alpha`. */
  readonly fields: Readonly<Record<string, string>>;
  /** For PEFT's own types, which of r and α its configuration lets vary by layer; absent for this library's types: both. */
  readonly patterns?: readonly ("r" | "alpha")[];
  /** Configuration entries that tell this method from others of its type, such as `use_dora: true`. */
  readonly marks?: Readonly<Record<string, boolean>>;
}

/** A method that merges its adapters into the base and starts anew while training goes on (ReLoRA). */
export interface Restarts<O extends AdapterOptions> {
  /** Steps between two restarts. */
  every(options: O): number;
  /** Steps over which the learning rate warms up again. */
  warmup(options: O): number;
  /** Share of Adam's moments, those smallest in magnitude, that a restart zeroes. */
  prune(options: O): number;
}

/** A fine-tuning method with hyper-parameters O. */
export interface Method<O extends AdapterOptions = AdapterOptions> {
  /** Name in tables and on the command line. */
  readonly name: string;
  /** Formula and source, for `--list` and docs. */
  readonly summary: string;
  /** True when the base model's own weights are trained. */
  readonly trainsBase: boolean;
  /** The hyper-parameters it has, at their defaults. */
  readonly defaults: O;
  /** Those of them that take "auto" beside a number. */
  readonly auto?: readonly string[];
  /**
   * The adapter's tensors for one layer; `all` are the layers it goes to. Throws an Error that says what to change when
   * the options do not fit.
   */
  parameters(module: LinearModule, options: O, all: readonly LinearModule[]): ParameterSpecs;
  /** The layer's output with the adapter in place: [tokens, m]. */
  forward(site: Site<O>): Tensor;
  /** Whether the layer is still linear with the adapter in place, so that the adapter can be merged into its weight. */
  readonly mergeable: boolean;
  /** What it costs on one layer. */
  cost(module: LinearModule, options: O): Cost;
  /** For methods that merge and start again while they train. */
  readonly restarts?: Restarts<O>;
  /** Absent for methods without an adapter. */
  readonly peft?: PeftFormat;
}

/** s = α / r. */
export function scaleOf({ alpha, r }: LowRankOptions): number {
  return alpha / r;
}

/** A and B of a low-rank update of rank r: A r×n, Kaiming uniform; B m×r, zeros. */
export function lowRankFactors({ m, n }: LinearModule, r: number): ParameterSpecs {
  return {
    A: { shape: [r, n], init: { kind: "kaiming", fan: n } },
    B: { shape: [m, r], init: zeros },
  };
}

/** The cost of products whose backward pass is two products of the same size each: one for each operand's gradient. */
export function productCost(forward: number): Cost {
  return { forward, backward: 2 * forward, step: 0 };
}

/** Throws unless r is a whole number from 1 to min(m, n). */
export function checkRank({ path, m, n }: LinearModule, r: number): void {
  if (!Number.isInteger(r) || r < 1 || r > Math.min(m, n)) {
    throw new Error(
      `rank ${r} does not fit ${path} (${m}×${n}): use a whole number from 1 to ${Math.min(m, n)}`,
    );
  }
}
