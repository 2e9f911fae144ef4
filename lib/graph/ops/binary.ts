/** Sums and products, element by element. */

import type { Node, Op, Tensor } from "../graph.ts";
import { elementwise, sameShape } from "./elementwise.ts";

type Binary = "add" | "multiply";

/** a + b, for tensors of the same shape. */
export function add(a: Tensor, b: Tensor): Tensor {
  return a.node.graph.apply(ops.add, [a, b], undefined)[0];
}

/** a ⊙ b, for tensors of the same shape. */
export function multiply(a: Tensor, b: Tensor): Tensor {
  return a.node.graph.apply(ops.multiply, [a, b], undefined)[0];
}

function binaryOp(
  name: Binary,
  f: (a: number, b: number) => number,
  derivative: (node: Node, gradient: Tensor) => Tensor[],
): Op<undefined> {
  return {
    name,
    infer([a, b]) {
      sameShape(a, b);
      return [{ shape: a.shape, dtype: "f32" }];
    },
    derivative: (node, [gradient]) => derivative(node, gradient!),
    evaluate: ([a, b]) => [a.map((value, i) => f(value, b[i]))],
    dispatches: (node, inPlace) =>
      elementwise(name, node.outputs[0], node.inputs[0], node.inputs[1], inPlace),
    // In place, x + x and x ⊙ x would bind one buffer twice.
    overwrites: (node) => node.inputs[0] === node.inputs[1] ? [] : [0],
  };
}

const ops: Record<Binary, Op<undefined>> = {
  add: binaryOp("add", (a, b) => a + b, (_, gradient) => [gradient, gradient]),
  multiply: binaryOp(
    "multiply",
    (a, b) => a * b,
    ({ inputs: [a, b] }, gradient) => [multiply(gradient, b), multiply(gradient, a)],
  ),
};
