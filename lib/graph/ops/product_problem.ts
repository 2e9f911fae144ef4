/** A block product as kernels see it: extents, layouts, and how its operands are stored and loaded. */

import type { DType, Spec } from "../graph.ts";
import { panelWidth } from "../panels.ts";
import { extents, type Layout, layoutOf, type MatmulAttrs } from "./product.ts";

/**
 * The storage of B as a value of PACKING. f16 is unpacked by the shader, or loaded as f16 by devices that
 * can.
 */
export const packings: Readonly<Partial<Record<DType, number>>> = {
  f32: 0,
  f16: 1,
  int8: 2,
  int4: 3,
  "f32 in panels": 5,
};
export const nativeF16 = 4;

/** A block product: extents, layouts, and which operands can be read and written as vec4. */
export interface Problem {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Layout;
  readonly b: Layout;
  readonly c: Layout;
  readonly vectors: { readonly a: boolean; readonly b: boolean; readonly c: boolean };
  readonly packing: number;
  /** Whether C is stored transposed. */
  readonly transposeC: boolean;
}

/** Uses vec4 wherever the leading dimension, block stride and contiguous extent are multiples of 4. */
export function problemOf(inputs: readonly Spec[], out: Spec, attrs: MatmulAttrs): Problem {
  const { m, n, k } = extents(inputs, attrs);
  const a = layoutOf(inputs[0], attrs.blocks, attrs.splits.a);
  const rowMajor = layoutOf(inputs[1], attrs.blocks, attrs.splits.b);
  // There is only one block; the stride is that from panel to panel.
  const b = inputs[1].dtype === "f32 in panels"
    ? { ...rowMajor, stride: rowMajor.rows * panelWidth }
    : rowMajor;
  const c = layoutOf(out, attrs.blocks, attrs.splits.out);
  const aligned = (layout: Layout, extent: number) => layout.lead % 4 + layout.stride % 4 + extent % 4 === 0;
  const vectors = {
    a: aligned(a, attrs.transposeA ? m : k),
    b: aligned(b, attrs.transposeB ? k : n),
    c: aligned(c, n),
  };
  return { m, n, k, a, b, c, vectors, packing: packings[inputs[1].dtype]!, transposeC: false };
}

/** The problem of Cᵀ = Bᵀ A. */
export function transposed({ m, n, k, a, b, c, vectors, packing }: Problem): Problem {
  const own = { a: vectors.b, b: vectors.a, c: false };
  return { m: n, n: m, k, a: b, b: a, c, vectors: own, packing, transposeC: true };
}

/** Step along k: 1 if both operands are read across k, 4 if one is read along k as vec4. */
export function stepOf({ transposeA, transposeB }: MatmulAttrs): number {
  return transposeA && !transposeB ? 1 : 4;
}

/** Whether A can be loaded as in the kernels for subgroups and workgroups: as vec4, in whole steps of k. */
export function readsAlong(attrs: MatmulAttrs, { k, vectors }: Problem): boolean {
  return vectors.a && k % stepOf(attrs) === 0 && !(attrs.transposeA && attrs.transposeB);
}
