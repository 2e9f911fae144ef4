/**
 * The gated units of decoders' feed-forward layers (Shazeer 2020, "GLU Variants Improve Transformer"): SwiGLU, as in LLaMA, and
 * GeGLU with the approximate GELU, as in Gemma.
 */

import text from "../../../wgsl/gated_unit.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { type Dispatch, type Op, sizeOf, type Tensor } from "../graph.ts";
import { sameShape } from "./elementwise.ts";

/** What the gate goes through: x σ(x) with σ the logistic function, or the GELU's approximation by tanh. */
export type GateActivation = "silu" | "tanh gelu";

/** a(gate) ⊙ up, for tensors of the same shape. Throws an Error when the shapes differ. */
export function gatedUnit(activation: GateActivation, gate: Tensor, up: Tensor): Tensor {
  return gate.node.graph.apply(gatedUnitOp, [gate, up], { activation })[0];
}

interface Attrs {
  readonly activation: GateActivation;
}

const workgroup = 64;

/** An activation's value and slope. */
const activations: Readonly<Record<GateActivation, (x: number) => readonly [value: number, slope: number]>> =
  {
    silu(x) {
      const sigma = 1 / (1 + Math.exp(-x));
      return [x * sigma, sigma * (1 + x * (1 - sigma))];
    },
    "tanh gelu"(x) {
      const factor = Math.sqrt(2 / Math.PI);
      const t = Math.tanh(factor * (x + 0.044715 * x ** 3));
      const slope = (1 + t) / 2 + x / 2 * (1 - t * t) * factor * (1 + 3 * 0.044715 * x * x);
      return [x / 2 * (1 + t), t * t === 1 ? (1 + t) / 2 : slope];
    },
  };

function dispatch(BACKWARD: number, { activation }: Attrs, bindings: Dispatch["bindings"]): Dispatch {
  const elements = sizeOf(bindings.gate);
  const WIDTH = elements % 4 === 0 ? 4 : 1;
  const defines = {
    BACKWARD,
    TANH_GELU: Number(activation === "tanh gelu"),
    WIDTH,
    WORKGROUP: workgroup,
  };
  return {
    kernel: renderKernel({ name: "gated_unit", text }, defines),
    params: { size: elements / WIDTH },
    bindings,
    grid: linearGrid(elements / WIDTH, workgroup),
  };
}

/** The op of `gatedUnit`. */
export const gatedUnitOp: Op<Attrs> = {
  name: "gatedUnit",
  infer([gate, up]) {
    sameShape(gate, up);
    return [{ shape: gate.shape, dtype: "f32" }];
  },
  derivative: ({ inputs, attrs, graph }, [gradient]) =>
    graph.apply(gatedUnitGradientOp, [...inputs, gradient!], attrs),
  evaluate: ([gate, up], { attrs }) => [gate.map((g, i) => activations[attrs.activation](g)[0] * up[i])],
  dispatches: ({ inputs: [gate, up], outputs: [out], attrs }) => [dispatch(0, attrs, { gate, up, out })],
};

/** Inputs gate, up, dy; outputs their gradients. */
const gatedUnitGradientOp: Op<Attrs> = {
  name: "gatedUnitGradient",
  infer: ([gate]) => [gate, gate].map(({ shape }) => ({ shape, dtype: "f32" })),
  evaluate([gate, up, dy], { attrs }) {
    const of = activations[attrs.activation];
    return [gate.map((g, i) => dy[i] * up[i] * of(g)[1]), gate.map((g, i) => dy[i] * of(g)[0])];
  },
  dispatches: ({ inputs: [gate, up, dy], outputs: [d_gate, d_up], attrs }) => [
    dispatch(1, attrs, { gate, up, dy, d_gate, d_up }),
  ],
};
