/** SwiGLU, the gated unit of LLaMA's feed-forward layers (Shazeer 2020, "GLU Variants Improve Transformer"), and its gradients. */

import text from "../../../wgsl/swiglu.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { type Dispatch, type Op, sizeOf, type Tensor } from "../graph.ts";
import { sameShape } from "./elementwise.ts";

/**
 * SiLU(gate) ⊙ up, for tensors of the same shape; SiLU(x) = x σ(x) with σ the logistic function. Throws an
 * Error when the shapes differ.
 */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  return gate.node.graph.apply(swigluOp, [gate, up], undefined)[0];
}

const workgroup = 64;

const logistic = (x: number) => 1 / (1 + Math.exp(-x));

function dispatch(BACKWARD: number, bindings: Dispatch["bindings"]): Dispatch {
  const elements = sizeOf(bindings.gate);
  const WIDTH = elements % 4 === 0 ? 4 : 1;
  return {
    kernel: renderKernel({ name: "swiglu", text }, { BACKWARD, WIDTH, WORKGROUP: workgroup }),
    params: { size: elements / WIDTH },
    bindings,
    grid: linearGrid(elements / WIDTH, workgroup),
  };
}

const swigluOp: Op<undefined> = {
  name: "swiglu",
  infer([gate, up]) {
    sameShape(gate, up);
    return [{ shape: gate.shape, dtype: "f32" }];
  },
  derivative: ({ inputs, graph }, [gradient]) =>
    graph.apply(swigluGradientOp, [...inputs, gradient!], undefined),
  evaluate: ([gate, up]) => [gate.map((g, i) => g * logistic(g) * up[i])],
  dispatches: ({ inputs: [gate, up], outputs: [out] }) => [dispatch(0, { gate, up, out })],
};

/** Inputs gate, up, dy; outputs their gradients. */
const swigluGradientOp: Op<undefined> = {
  name: "swigluGradient",
  infer: ([gate]) => [gate, gate].map(({ shape }) => ({ shape, dtype: "f32" })),
  evaluate([gate, up, dy]) {
    const dGate = gate.map((g, i) => dy[i] * up[i] * logistic(g) * (1 + g * (1 - logistic(g))));
    return [dGate, gate.map((g, i) => dy[i] * g * logistic(g))];
  },
  dispatches: ({ inputs: [gate, up, dy], outputs: [d_gate, d_up] }) => [
    dispatch(1, { gate, up, dy, d_gate, d_up }),
  ],
};
