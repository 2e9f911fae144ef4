/** The second stage of a sum whose first stage leaves parts. */

import { type Dispatch, sizeOf, type Tensor } from "../graph.ts";
import { noEpilogue } from "./product/epilogue.ts";
import { renderSum } from "./product/skinny_kernels.ts";

/** out = Σ parts[p], in order of p: parts [count, …], each of out's size. */
export function sumOfParts(parts: Tensor, out: Tensor): Dispatch {
  const size = sizeOf(out);
  const layout = { ld_a: size, ld_b: 0, ld_c: size, stride_a: 0, stride_b: 0, stride_c: 0, stride_bias: 0 };
  return {
    kernel: renderSum(0, noEpilogue),
    params: { m: 1, n: size, k: parts.shape[0], blocks: 1, ...layout, start_a: 0, start_b: 0, scale: 1 },
    bindings: { a: parts, c: out },
    grid: [Math.ceil(size / 64), 1, 1],
  };
}
