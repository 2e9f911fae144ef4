/** What a block product is: how matrices are cut into blocks, its extents, and the epilogues that follow it. */

import { describe, type Spec, type Tensor } from "../graph.ts";

/** How a matrix is cut into blocks: `whole` is used by every block product. */
export type Split = "columns" | "rows";

/** Activations whose derivative can be read off their output. */
export type FusedActivation = "relu" | "tanh";

export interface MatmulAttrs {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** Products of equally many blocks of a, b and the output, laid out as `splits` says. */
  readonly blocks: number;
  readonly splits: { readonly a: Split; readonly b: Split; readonly out: Split };
  readonly scale: number;
  readonly activation: FusedActivation | undefined;
  readonly hasBias: boolean;
  readonly hasResidual: boolean;
}

/** Extent of one block of a matrix and where the blocks lie, in elements. */
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

/** A product of low rank that is added to another: C += scale · V L in as many blocks of columns; see `wgsl/include/low_rank.wgsl`. */
export interface LowRankTerm {
  /** [m, blocks·rank]. */
  readonly v: Tensor;
  /** [n, rank] where `transposed`, else [rank, n]. */
  readonly low: Tensor;
  readonly transposed: boolean;
  readonly blocks: number;
  readonly scale: number;
}
