/** A penalty: the scaled sum of squares, as a loss. */

import text from "../../../wgsl/sum_of_squares.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { type Dispatch, type Op, sizeOf, type Tensor } from "../graph.ts";

interface Attrs {
  readonly scale: number;
}

/** scale · Σ x² of any x → [1]; differentiates with a seed of 1, like the other losses. */
export function sumOfSquares(x: Tensor, scale: number): Tensor {
  return x.node.graph.apply(sumOfSquaresOp, [x], { scale })[0];
}

const workgroup = 64;

function dispatch(BACKWARD: number, x: Tensor, out: Tensor, { scale }: Attrs): Dispatch[] {
  return [{
    kernel: renderKernel({ name: "sum_of_squares", text }, { BACKWARD, WORKGROUP: workgroup }),
    params: { size: sizeOf(x), scale },
    bindings: { x, out },
    grid: BACKWARD ? linearGrid(sizeOf(x), workgroup) : [1, 1, 1],
  }];
}

const sumOfSquaresOp: Op<Attrs> = {
  name: "sumOfSquares",
  isLoss: true,
  infer: () => [{ shape: [1], dtype: "f32" }],
  derivative: ({ inputs: [x], attrs, graph }) => graph.apply(sumOfSquaresGradientOp, [x], attrs),
  evaluate: ([x], { attrs }) => [Float64Array.of(attrs.scale * x.reduce((sum, v) => sum + v * v, 0))],
  dispatches: ({ inputs: [x], outputs: [out], attrs }) => dispatch(0, x, out, attrs),
};

const sumOfSquaresGradientOp: Op<Attrs> = {
  name: "sumOfSquaresGradient",
  infer: ([x]) => [x],
  evaluate: ([x], { attrs }) => [x.map((value) => 2 * attrs.scale * value)],
  dispatches: ({ inputs: [x], outputs: [out], attrs }) => dispatch(1, x, out, attrs),
};
