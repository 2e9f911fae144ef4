/** Each text's first token: `<s>` or `[CLS]`, whose vector stands for the text. */

import text from "../../../wgsl/first_token.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Op, sizeOf, type Tensor } from "../graph.ts";
import { checkMatrices } from "./shapes.ts";

interface Attrs {
  readonly length: number;
}

/** Rows 0, length, 2·length, … of x [batch·length, n] → [batch, n]. */
export function firstToken(x: Tensor, batch: number): Tensor {
  return x.node.graph.apply(firstTokenOp, [x], { length: x.shape[0] / batch })[0];
}

const workgroup = 64;

function dispatch(BACKWARD: number, x: Tensor, out: Tensor, { length }: Attrs): Dispatch[] {
  return [{
    kernel: renderKernel({ name: "first_token", text }, { BACKWARD, WORKGROUP: workgroup }),
    params: { size: sizeOf(out), length, width: out.shape[1] },
    bindings: { x, out },
    grid: linearGrid(sizeOf(out), workgroup),
  }];
}

const firstTokenOp: Op<Attrs> = {
  name: "firstToken",
  infer([x], { length }) {
    checkMatrices(x);
    if (!Number.isInteger(length)) throw new Error(`${describe(x)} is not texts of one length`);
    return [{ shape: [x.shape[0] / length, x.shape[1]], dtype: "f32" }];
  },
  derivative: ({ attrs, graph }, [gradient]) => [graph.apply(firstTokenGradientOp, [gradient!], attrs)[0]],
  evaluate([x], { outputs: [{ shape: [batch, width] }], attrs: { length } }) {
    return [
      Float64Array.from(
        { length: batch * width },
        (_, i) => x[Math.floor(i / width) * length * width + i % width],
      ),
    ];
  },
  dispatches: ({ inputs: [x], outputs: [out], attrs }) => dispatch(0, x, out, attrs),
};

const firstTokenGradientOp: Op<Attrs> = {
  name: "firstTokenGradient",
  infer: ([{ shape: [batch, width] }], { length }) => [{ shape: [batch * length, width], dtype: "f32" }],
  evaluate([gradient], { outputs, attrs: { length } }) {
    const width = outputs[0].shape[1];
    return [Float64Array.from({ length: sizeOf(outputs[0]) }, (_, i) => {
      const row = Math.floor(i / width);
      return row % length === 0 ? gradient[row / length * width + i % width] : 0;
    })];
  },
  dispatches: ({ inputs: [gradient], outputs: [out], attrs }) => dispatch(1, gradient, out, attrs),
};
