/** Each text's last token, whose row in a causal model has seen the whole text. */

import text from "../../../wgsl/last_token.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Op, sizeOf, type Tensor } from "../graph.ts";
import { checkMatrices } from "./shapes.ts";

interface Attrs {
  readonly length: number;
  /** Whether this is the gradient, from the last tokens to all. */
  readonly backward: boolean;
}

/** Row `lengths[b] − 1` of each text: x [batch·length, n], lengths [batch] u32 → [batch, n]. */
export function lastToken(x: Tensor, lengths: Tensor): Tensor {
  const attrs = { length: x.shape[0] / lengths.shape[0], backward: false };
  return x.node.graph.apply(lastTokenOp, [x, lengths], attrs)[0];
}

const workgroup = 64;

const lastTokenOp: Op<Attrs> = {
  name: "lastToken",
  wholeInputs: [1],
  infer([x, { shape: [batch] }], { length, backward }) {
    checkMatrices(x);
    if (!Number.isInteger(length)) throw new Error(`${describe(x)} is not ${batch} texts of one length`);
    return [{ shape: [backward ? batch * length : batch, x.shape[1]], dtype: "f32" }];
  },
  derivative: ({ inputs: [, lengths], attrs, graph }, [gradient]) => [
    graph.apply(lastTokenOp, [gradient!, lengths], { ...attrs, backward: true })[0],
    undefined,
  ],
  evaluate([x, lengths], { outputs: [out], attrs: { length, backward } }) {
    const width = out.shape[1];
    const values = new Float64Array(sizeOf(out));
    for (const [b, count] of lengths.entries()) {
      const [vector, row] = [b * width, (b * length + count - 1) * width];
      const [from, to] = backward ? [vector, row] : [row, vector];
      values.set(x.subarray(from, from + width), to);
    }
    return [values];
  },
  dispatches: ({ inputs: [x, lengths], outputs: [out], attrs: { length, backward } }) => [{
    kernel: renderKernel({ name: "last_token", text }, { BACKWARD: Number(backward), WORKGROUP: workgroup }),
    params: { size: sizeOf(out), length, width: out.shape[1] },
    bindings: { x, lengths, out },
    grid: linearGrid(sizeOf(out), workgroup),
  }],
};
