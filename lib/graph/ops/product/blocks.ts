/** How the matrices of a product are cut into blocks, and the extents of a block. */

import { describe, type Spec } from "../../graph.ts";

/** The dimension along which a matrix is cut into blocks. */
export type Split = "columns" | "rows";

/** Which operands are transposed, and the independent products of blocks that a product consists of. */
export interface Blocks {
  /** A is stored [k, m]. */
  readonly transposeA: boolean;
  /** B is stored [n, k]. */
  readonly transposeB: boolean;
  /** Number of blocks that a, b and the output are each cut into, to be multiplied block by block. */
  readonly blocks: number;
  /** How a, b and the output are cut into those blocks. */
  readonly splits: { readonly a: Split; readonly b: Split; readonly out: Split };
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

/** m, n, k of one block product of a and b, the first two `inputs`. */
export function extents(inputs: readonly Spec[], own: Blocks): { m: number; n: number; k: number } {
  const a = layoutOf(inputs[0], own.blocks, own.splits.a);
  const b = layoutOf(inputs[1], own.blocks, own.splits.b);
  const [m, k] = own.transposeA ? [a.cols, a.rows] : [a.rows, a.cols];
  const [kB, n] = own.transposeB ? [b.cols, b.rows] : [b.rows, b.cols];
  if (k !== kB) {
    const note = `${own.transposeA ? "T" : "N"}${own.transposeB ? "T" : "N"}, ${own.blocks} blocks`;
    throw new Error(
      `${describe(inputs[0])} times ${describe(inputs[1])} (${note}): inner extents ${k} and ${kB} differ`,
    );
  }
  return { m, n, k };
}
