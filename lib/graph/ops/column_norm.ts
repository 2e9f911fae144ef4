/** The column norms that DoRA divides by. Differentiation treats them as constants. */

import text from "../../../wgsl/inverse_column_norm.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import type { Node, Op, Tensor } from "../graph.ts";
import { columnLaunches, columnScratch, type ColumnSums } from "./column_teams.ts";
import { checkMatrices } from "./shapes.ts";

/**
 * 1 / ‖x_j‖₂ of every column: [rows, cols] → [cols]. No gradient flows through it, as in DoRA (Liu et al.
 * 2024, section 4.3: the norm is detached).
 */
export function detachedInverseColumnNorm(x: Tensor): Tensor {
  return x.node.graph.apply(inverseColumnNormOp, [x], undefined)[0];
}

const workgroup = 32;

function sumsOf({ inputs: [x], outputs }: Node): ColumnSums {
  const [rows, cols] = x.shape;
  return { term: "squares", finish: "inverseRoot", reads: { x }, outputs, texts: 1, rows, cols };
}

const inverseColumnNormOp: Op<undefined> = {
  name: "inverseColumnNorm",
  detached: true,
  infer([x]) {
    checkMatrices(x);
    return [{ shape: [x.shape[1]], dtype: "f32" }];
  },
  evaluate([x], { outputs }) {
    const squares = new Float64Array(outputs[0].shape[0]);
    x.forEach((value, i) => squares[i % squares.length] += value * value);
    return [squares.map((square) => 1 / Math.max(Math.sqrt(square), 1e-30))];
  },
  scratch: (node, { software }) => software ? [] : columnScratch(node, sumsOf(node)),
  dispatches(node, _, { software }) {
    if (!software) return columnLaunches(node, sumsOf(node));
    const { inputs: [x], outputs: [out] } = node;
    const [rows, cols] = x.shape;
    return [{
      kernel: renderKernel({ name: "inverse_column_norm", text }, { WORKGROUP: workgroup }),
      params: { rows, cols },
      bindings: { x, out },
      grid: linearGrid(cols, workgroup),
    }];
  },
};
