/**
 * The interface of a fine-tuning method, and the only thing the trainer, the reports and the benches know of one. To
 * add a method: a file that exports a `Method`, and one line in `registry.ts`.
 */

import type { Tensor } from "../graph/graph.ts";
import type { LinearModule } from "../models/model.ts";

/** Hyper-parameters every method shares; each method says which it reads. */
export interface AdapterOptions {
  /** Rank r of the low-rank factors. */
  readonly r: number;
  /** α; the update is scaled by s = α / r. */
  readonly alpha: number;
  /** Dropout on the adapter's input, in training. */
  readonly dropout: number;
  /** Blocks b: a number that divides both extents of every target, or "auto" (see `blocks.ts`). */
  readonly blocks: number | "auto";
}

/** How a trainable tensor starts: zeros, U(±1/√fan), or given values. */
export type Initializer =
  | { readonly kind: "zeros" }
  /** Kaiming uniform with a = √5, as PyTorch's nn.Linear: U(−1/√fan, +1/√fan). */
  | { readonly kind: "kaiming"; readonly fan: number };

/** A trainable tensor of an adapter. */
export interface ParameterSpec {
  readonly shape: readonly number[];
  readonly init: Initializer;
}

/** One adapted linear layer while the model is being traced. */
export interface Site {
  readonly module: LinearModule;
  readonly options: AdapterOptions;
  /** The layer's input: [tokens, n]. */
  readonly x: Tensor;
  /** The adapter's input: x after adapter dropout (x itself in evaluation). */
  readonly dropped: Tensor;
  /** The frozen weight W: [m, n]. */
  readonly weight: Tensor;
  /** The adapter's own tensors, by the names `parameters` gave them. */
  readonly parameters: Readonly<Record<string, Tensor>>;
  /** W x + bias (+ residual): [tokens, m]. */
  base(): Tensor;
}

/** A fine-tuning method. */
export interface Method {
  /** Name in tables and on the command line. */
  readonly name: string;
  /** Formula and source, for `--list` and docs. */
  readonly summary: string;
  /** True when the base model's own weights are trained. */
  readonly trainsBase: boolean;
  /** Which hyper-parameters it reads, for result records. */
  readonly reads: readonly (keyof AdapterOptions)[];
  /** The adapter's tensors for one layer; throws an Error that says what to change when the options do not fit. */
  parameters(module: LinearModule, options: AdapterOptions): Readonly<Record<string, ParameterSpec>>;
  /** The layer's output with the adapter in place: [tokens, m]. */
  forward(site: Site): Tensor;
  /** ΔW [m, n] from the adapter's tensors, for merging; absent where the update depends on the input. */
  delta?(site: Omit<Site, "x" | "dropped" | "base">): Tensor;
  /** Multiply-adds a token that the adapter adds to one layer's forward pass. */
  multiplyAdds(module: LinearModule, options: AdapterOptions): number;
}

/** s = α / r. */
export function scaleOf({ alpha, r }: AdapterOptions): number {
  return alpha / r;
}

/** Throws unless r is a whole number from 1 to min(m, n). */
export function checkRank({ path, m, n }: LinearModule, { r }: AdapterOptions): void {
  if (!Number.isInteger(r) || r < 1 || r > Math.min(m, n)) {
    throw new Error(
      `rank ${r} does not fit ${path} (${m}×${n}): use a whole number from 1 to ${Math.min(m, n)}`,
    );
  }
}
