/** The definition of a block product: how matrices are cut into blocks, the extents, and the epilogues. */

import { describe, type Spec, type Tensor } from "../graph.ts";

/** The dimension along which a matrix is cut into blocks. */
export type Split = "columns" | "rows";

/** Activations whose derivative can be computed from their output. */
export type FusedActivation = "relu" | "tanh";

export interface MatmulAttrs {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** Number of blocks that a, b and the output are each cut into, as `splits` says. */
  readonly blocks: number;
  readonly splits: { readonly a: Split; readonly b: Split; readonly out: Split };
  readonly scale: number;
  readonly activation: FusedActivation | undefined;
  readonly hasBias: boolean;
  readonly hasResidual: boolean;
}

/**
 * Extents of one block of a matrix, its leading dimension, and the stride from block to block, in elements.
 */
export interface Layout {
  readonly rows: number;
  readonly cols: number;
  readonly lead: number;
  readonly stride: number;
}

export function layoutOf(spec: Spec, blocks: number, split: Split): Layout {
  if (spec.shape.length !== 2) throw new Error(`wants matrices, not ${describe(spec)}`);
  const [rows, cols] = spec.shape;
  if ((split === "rows" ? rows : cols) % blocks !== 0) {
    throw new Error(`${blocks} blocks do not divide the ${split} of ${describe(spec)}`);
  }
  return split === "rows"
    ? { rows: rows / blocks, cols, lead: cols, stride: rows / blocks * cols }
    : { rows, cols: cols / blocks, lead: cols, stride: cols / blocks };
}

/** m, n, k of one block product. */
export function extents(inputs: readonly Spec[], attrs: MatmulAttrs): { m: number; n: number; k: number } {
  const a = layoutOf(inputs[0], attrs.blocks, attrs.splits.a);
  const b = layoutOf(inputs[1], attrs.blocks, attrs.splits.b);
  const [m, k] = attrs.transposeA ? [a.cols, a.rows] : [a.rows, a.cols];
  const [kB, n] = attrs.transposeB ? [b.cols, b.rows] : [b.rows, b.cols];
  if (k !== kB) {
    const note = `${attrs.transposeA ? "T" : "N"}${attrs.transposeB ? "T" : "N"}, ${attrs.blocks} blocks`;
    throw new Error(
      `${describe(inputs[0])} times ${describe(inputs[1])} (${note}): inner extents ${k} and ${kB} differ`,
    );
  }
  return { m, n, k };
}

/**
 * A low-rank product that is added to another product: C += scale · V L, in `blocks` blocks of columns; see
 * `wgsl/include/low_rank.wgsl`.
 */
export interface LowRankTerm {
  /** [m, blocks·rank]. */
  readonly v: Tensor;
  /** [n, rank] if `transposed`, else [rank, n]. */
  readonly low: Tensor;
  readonly transposed: boolean;
  readonly blocks: number;
  readonly scale: number;
}
