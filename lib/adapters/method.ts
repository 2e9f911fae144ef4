/**
 * The interface of a fine-tuning method. The trainer, the reports and the benchmarks use methods only through
 * it. To add a method, write a file that exports a `Method` and add it to `registry.ts`.
 */

import type { Tensor } from "../graph/graph.ts";
import type { LinearModule } from "../models/model.ts";
import { type ParameterSpec, zeros } from "../models/parameter.ts";

/** Hyperparameters that every method has. */
export interface AdapterOptions {
  /** Dropout rate on the adapter's input during training, in [0, 1); absent means 0. */
  readonly dropout?: number;
}

/** Hyperparameters of a low-rank update. */
export interface LowRankOptions extends AdapterOptions {
  /** Rank r: an integer from 1, in most methods to the smaller dimension of every target layer (see `checkRank`). */
  readonly r: number;
  /** α: the update is scaled by s = α / r (rsLoRA: α / √r). */
  readonly alpha: number;
  /** Dropout rate on the adapter's input during training, in [0, 1). */
  readonly dropout: number;
}

/** Hyperparameters of a block-wise low-rank update. */
export interface BlockOptions extends LowRankOptions {
  /**
   * Number of blocks b, which must divide both dimensions of every target layer. "auto" takes the largest
   * that divides them and is at most √n.
   */
  readonly blocks: number | "auto";
}

/** Defaults of low-rank methods: PEFT's r = 8 and dropout 0, and α = 2r as in the LoRA paper's GLUE runs. */
export const lowRankDefaults: LowRankOptions = { r: 8, alpha: 16, dropout: 0 };

/** `lowRankDefaults` with `blocks: "auto"`, since no fixed number divides the layers of every model. */
export const blockDefaults: BlockOptions = { ...lowRankDefaults, blocks: "auto" };

/** An adapter's tensors for one layer, by name (`A`, `B`). */
export type ParameterSpecs = Readonly<Record<string, ParameterSpec>>;

/**
 * What a method's `forward` receives: one adapted linear layer while the graph of the model is built. m is
 * the layer's output width, n its input width.
 */
export interface Site<O extends AdapterOptions = AdapterOptions> {
  /** The adapted layer. */
  readonly module: LinearModule;
  /** The method's options for this layer. */
  readonly options: O;
  /** The layer's input: [tokens, n]. */
  readonly x: Tensor;
  /** The adapter's input: x after adapter dropout (x itself in evaluation), [tokens, n]. */
  readonly dropped: Tensor;
  /** The base weight W [m, n]. */
  readonly weight: Tensor;
  /** The layer's bias [m], if it has one. */
  readonly bias?: Tensor;
  /** The residual input that is added to the output, [tokens, m], if any. */
  readonly residual?: Tensor;
  /** The adapter's tensors, by the names that `parameters` gave them. */
  readonly parameters: Readonly<Record<string, Tensor>>;
  /**
   * Number of tokens of each text, [texts] u32: it tells which rows of x are padding. Absent where each row
   * of x is one text.
   */
  readonly lengths?: Tensor;
  /** W x + bias + residual, [tokens, m]: the layer without its adapter. */
  base(): Tensor;
  /** W x without bias and residual, [tokens, m]. */
  product(): Tensor;
  /** Adds a scalar of shape [1] to the training loss. */
  addLoss(loss: Tensor): void;
}

/** Multiply-adds that an adapter adds to those of its frozen layer. One multiply-add is two FLOPs. */
export interface Cost {
  /** Per token, in the forward pass. */
  readonly forward: number;
  /**
   * Per token, in the backward pass: every gradient that the method needs besides the frozen layer's Wᵀ·G.
   */
  readonly backward: number;
  /** Per training step, independent of the number of tokens: norms, and products of weights. */
  readonly step: number;
}

/** How a method's adapters are stored in PEFT's folder layout; see `peft.ts`. */
export interface PeftFormat {
  /** The value of `peft_type` in `adapter_config.json`. */
  readonly type: string;
  /** The suffix of each tensor's key, such as `lora_A.weight`, by the tensor's name. */
  readonly keys: Readonly<Record<string, string>>;
  /** The field of `adapter_config.json` for each hyperparameter, such as `lora_alpha`. */
  readonly fields: Readonly<Record<string, string>>;
  /**
   * For PEFT's own types: which of r and α may differ between layers. Absent for this library's types, where
   * both may.
   */
  readonly patterns?: readonly ("r" | "alpha")[];
  /**
   * True where only the tensors say which rank a layer has: the rows of A. PEFT 0.21 applies HiRA's `rank_pattern` to a model's
   * second adapter and not to its first.
   */
  readonly ranksOfTensors?: true;
  /**
   * Fields of `adapter_config.json` that distinguish this method from others of its type, such as
   * `use_dora: true`.
   */
  readonly marks?: Readonly<Record<string, boolean>>;
}

/** The schedule of a method that merges its adapter into the base and restarts during training (ReLoRA). */
export interface Restarts<O extends AdapterOptions> {
  /** Steps between two restarts. */
  every(options: O): number;
  /** Steps of learning-rate warm-up after a restart. */
  warmup(options: O): number;
  /** Fraction of Adam's moments that a restart zeroes: those with the smallest magnitude. */
  prune(options: O): number;
}

/** What the second half of an update reads of its site: nothing that depends on the input. */
export type UpSite<O extends AdapterOptions = AdapterOptions> = Pick<
  Site<O>,
  "module" | "options" | "parameters"
>;

/** What the first half reads: the adapter's input as well. */
export type DownSite<O extends AdapterOptions = AdapterOptions> = UpSite<O> & Pick<Site<O>, "dropped">;

/**
 * The two linear halves of an update that factors, ΔW x = up(down(x)): a LoRA of rank R, the width between
 * them, with A′ = down(I)ᵀ [R, n] and B′ = up(I)ᵀ [m, R].
 */
export interface Halves<O extends AdapterOptions = AdapterOptions> {
  /** The adapter's input [tokens, n] → [tokens, R]. */
  down(site: DownSite<O>): Tensor;
  /** v [tokens, R] → [tokens, m], with the tensor that `base` makes added, if it is given. */
  up(site: UpSite<O>, v: Tensor, base?: () => Tensor): Tensor;
}

/**
 * A fine-tuning method with hyperparameters O. Pass one to `attach`; implement this interface to add your
 * own.
 */
export interface Method<O extends AdapterOptions = AdapterOptions> {
  /** Name in tables and on the command line. */
  readonly name: string;
  /** Formula and source, for `--list` and docs. */
  readonly summary: string;
  /** True when all weights of the base model are trained. */
  readonly trainsBase: boolean;
  /** True when it computes with the values of the weights that it adapts, which must then not be packed. */
  readonly readsBase?: true;
  /** All hyperparameters with their default values. */
  readonly defaults: O;
  /** Names of the hyperparameters that accept "auto" as well as a number. */
  readonly auto?: readonly string[];
  /**
   * The adapter's tensors for the layer `module`; `all` are all the layers that the method is attached to.
   * Throws an Error that says what to change when the options do not fit the layer.
   */
  parameters(module: LinearModule, options: O, all: readonly LinearModule[]): ParameterSpecs;
  /** The layer's output with the adapter, [tokens, m]. */
  forward(site: Site<O>): Tensor;
  /** Present when the update factors exactly: `forward` is then their composition (see `throughHalves`). */
  readonly halves?: Halves<O>;
  /**
   * True when the layer with its adapter is linear in x, so that the adapter can be merged into the weight.
   */
  readonly mergeable: boolean;
  /** The adapter's cost on one layer. */
  cost(module: LinearModule, options: O): Cost;
  /** Only for methods that merge and restart during training. */
  readonly restarts?: Restarts<O>;
  /** How adapters are saved; absent for methods without an adapter. */
  readonly peft?: PeftFormat;
}

/** The members of a method whose update factors: y = up(down(dropped)) + W x + bias + residual. */
export function throughHalves<O extends AdapterOptions>(
  halves: Halves<O>,
): Pick<Method<O>, "forward" | "halves" | "mergeable"> {
  return {
    halves,
    forward: (site) => halves.up(site, halves.down(site), site.base),
    mergeable: true,
  };
}

/** LoRA's scale s = α / r. */
export function scaleOf({ alpha, r }: LowRankOptions): number {
  return alpha / r;
}

/** The factors of a rank-r update for a layer of shape m×n: A [r, n], Kaiming uniform; B [m, r], zeros. */
export function lowRankFactors({ m, n }: LinearModule, r: number): ParameterSpecs {
  return {
    A: { shape: [r, n], init: { kind: "kaiming", fan: n } },
    B: { shape: [m, r], init: zeros },
  };
}

/**
 * The cost of matrix products with `forward` multiply-adds per token. The backward pass needs two products of
 * the same size, one for each operand's gradient.
 */
export function productCost(forward: number): Cost {
  return { forward, backward: 2 * forward, step: 0 };
}

/**
 * Throws an Error unless r is an integer from 1 to `most`, which is the layer's smaller dimension unless it is given. Methods of
 * PEFT's give Infinity: there one rank is given to layers of all widths, and the update's own rank does not exceed them.
 */
export function checkRank({ path, m, n }: LinearModule, r: number, most: number = Math.min(m, n)): void {
  if (Number.isInteger(r) && r >= 1 && r <= most) return;
  const to = most < Infinity ? ` to ${most}` : "";
  throw new Error(`rank ${r} does not fit ${path} (${m}×${n}): use a whole number from 1${to}`);
}

/** Throws an Error unless a float32 holds α, and as no 0: the update would be NaN or 0, whatever is trained. */
export function checkAlpha(alpha: number): void {
  const held = Math.fround(alpha);
  if (Number.isFinite(held) && held !== 0) return;
  throw new Error(
    `alpha ${alpha}: the update is multiplied by it: use a number other than 0 that a float32 holds`,
  );
}

/** Throws an Error as `checkRank` and `checkAlpha` do. */
export function checkLowRank(module: LinearModule, { r, alpha }: LowRankOptions, most?: number): void {
  checkRank(module, r, most);
  checkAlpha(alpha);
}
