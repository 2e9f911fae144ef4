/** A block product as kernels see it: extents, layouts, and how its operands are stored and loaded. */

import type { DType, Spec } from "../../graph.ts";
import { storageNamed } from "../../storages/registry.ts";
import type { Reading } from "../../storages/storage.ts";
import { type Blocks, extents, type Layout, layoutOf } from "./blocks.ts";

/** Up to this many rows or columns (an adapter's rank), C counts as skinny and gets tiles of its own. */
export const few = 16;

/** A block product: extents, layouts, and which operands can be read and written as vec4. */
export interface Problem {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly blocks: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Layout;
  readonly b: Layout;
  readonly c: Layout;
  readonly vectors: { readonly a: boolean; readonly b: boolean; readonly c: boolean };
  /** The storage of B. */
  readonly storage: DType;
  readonly reading: Reading;
  /** Whether C is stored transposed. */
  readonly transposeC: boolean;
}

/** Uses vec4 wherever the leading dimension, block stride and contiguous extent are multiples of 4. */
export function problemOf(inputs: readonly Spec[], out: Spec, own: Blocks): Problem {
  const { transposeA, transposeB, blocks } = own;
  const { m, n, k } = extents(inputs, own);
  const storage = inputs[1].dtype;
  const { reading, strideOf } = storageNamed(storage);
  const a = layoutOf(inputs[0], blocks, own.splits.a);
  const rowMajor = layoutOf(inputs[1], blocks, own.splits.b);
  const b = strideOf ? { ...rowMajor, stride: strideOf(rowMajor.rows) } : rowMajor;
  const c = layoutOf(out, blocks, own.splits.out);
  const aligned = (layout: Layout, extent: number) => layout.lead % 4 + layout.stride % 4 + extent % 4 === 0;
  const vectors = {
    a: aligned(a, transposeA ? m : k),
    b: aligned(b, transposeB ? k : n),
    c: aligned(c, n),
  };
  return { transposeA, transposeB, blocks, m, n, k, a, b, c, vectors, storage, reading, transposeC: false };
}

/** The problem of Cᵀ = Bᵀ A, for C = Aᵀ B. */
export function transposed(problem: Problem): Problem {
  const { m, n, a, b, vectors } = problem;
  const own = { a: vectors.b, b: vectors.a, c: false };
  return { ...problem, m: n, n: m, a: b, b: a, vectors: own, transposeC: true };
}

/** Step along k: 1 if both operands are read across k, 4 if one is read along k as vec4. */
export function stepOf({ transposeA, transposeB }: Problem): number {
  return transposeA && !transposeB ? 1 : 4;
}

/** Whether A can be loaded as in the kernels for subgroups and workgroups: as vec4, in whole steps of k. */
export function readsAlong(problem: Problem): boolean {
  return problem.vectors.a && problem.k % stepOf(problem) === 0;
}
