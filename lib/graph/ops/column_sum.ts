/** Sums over the rows of a matrix: the gradient of a bias. */

import text from "../../../wgsl/column_sum.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Op, type Tensor } from "../graph.ts";

/** Σ_i x[i, j] for every column j of x: [rows, cols] → [cols]. */
export function columnSum(x: Tensor): Tensor {
  return x.node.graph.apply(columnSumOp, [x], undefined)[0];
}

const columnSumOp: Op<undefined> = {
  name: "columnSum",
  infer([x]) {
    if (x.shape.length !== 2) throw new Error(`wants a matrix, not ${describe(x)}`);
    return [{ shape: [x.shape[1]], dtype: "f32" }];
  },
  evaluate([x], { outputs }) {
    const out = new Float64Array(outputs[0].shape[0]);
    x.forEach((value, i) => out[i % out.length] += value);
    return [out];
  },
  dispatches({ inputs: [x], outputs: [out] }) {
    const [rows, cols] = x.shape;
    return [{
      kernel: renderKernel({ name: "column_sum", text }, { WORKGROUP: 32 }),
      params: { rows, cols },
      bindings: { x, out },
      grid: linearGrid(cols, 1),
    }];
  },
};
