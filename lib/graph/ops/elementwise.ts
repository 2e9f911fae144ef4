/** The kernel and launch that the element-by-element ops share. */

import text from "../../../wgsl/elementwise.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Dispatch, sizeOf, type Spec, type Tensor } from "../graph.ts";

/** FUNCTION of `wgsl/elementwise.wgsl`. */
export const elementwiseFunctions = {
  relu: 0,
  tanh: 1,
  gelu: 2,
  add: 3,
  multiply: 4,
  reluGradient: 5,
  tanhGradient: 6,
  geluGradient: 7,
} as const;

const workgroup = 64;

/** `out = f(x)` or `f(x, y)`; `inPlace` when out takes over x's buffer. */
export function elementwise(
  name: keyof typeof elementwiseFunctions,
  out: Tensor,
  x: Tensor,
  y?: Tensor,
  inPlace = false,
): Dispatch[] {
  const width = sizeOf(out) % 4 === 0 ? 4 : 1;
  const size = sizeOf(out) / width;
  const defines = {
    FUNCTION: elementwiseFunctions[name],
    IN_PLACE: Number(inPlace),
    WIDTH: width,
    WORKGROUP: workgroup,
  };
  return [{
    kernel: renderKernel({ name: "elementwise", text }, defines),
    params: { size },
    bindings: { out, ...(inPlace ? {} : { x }), ...(y ? { y } : {}) },
    grid: linearGrid(size, workgroup),
  }];
}

/** Throws an Error unless `a` and `b` have the same shape. */
export function sameShape(a: Spec, b: Spec): void {
  if (a.shape.join() !== b.shape.join()) throw new Error(`shapes ${describe(a)} and ${describe(b)} differ`);
}
