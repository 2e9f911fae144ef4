/** Sums over the rows of a matrix (the gradient of a bias), and the reverse, one row repeated. */

import text from "../../../wgsl/column_sum.wgsl" with { type: "text" };
import repeatText from "../../../wgsl/repeat_rows.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { type Node, type Op, sizeOf, type Tensor } from "../graph.ts";
import { columnLaunches, columnScratch, type ColumnSums } from "./column_teams.ts";
import { checkMatrices } from "./shapes.ts";

/** Σ_i x[i, j] for every column j of x: [rows, cols] → [cols]. */
export function columnSum(x: Tensor): Tensor {
  return x.node.graph.apply(columnSumOp, [x], undefined)[0];
}

/** A matrix [rows, cols] whose rows are all x [cols]. */
export function repeatRows(x: Tensor, rows: number): Tensor {
  return x.node.graph.apply(repeatRowsOp, [x], { rows })[0];
}

function sumsOf({ inputs: [x], outputs }: Node): ColumnSums {
  return { term: "values", reads: { x }, outputs, texts: 1, rows: x.shape[0], cols: x.shape[1] };
}

const columnSumOp: Op<undefined> = {
  name: "columnSum",
  infer([x]) {
    checkMatrices(x);
    return [{ shape: [x.shape[1]], dtype: "f32" }];
  },
  derivative: ({ inputs: [x] }, [gradient]) => [repeatRows(gradient!, x.shape[0])],
  evaluate([x], { outputs }) {
    const out = new Float64Array(outputs[0].shape[0]);
    x.forEach((value, i) => out[i % out.length] += value);
    return [out];
  },
  scratch: (node, { software }) => software ? [] : columnScratch(node, sumsOf(node)),
  dispatches(node, _, { software }) {
    if (!software) return columnLaunches(node, sumsOf(node));
    const { inputs: [x], outputs: [out] } = node;
    const [rows, cols] = x.shape;
    return [{
      kernel: renderKernel({ name: "column_sum", text }, { WORKGROUP: 32 }),
      params: { rows, cols },
      bindings: { x, out },
      grid: linearGrid(cols, 1),
    }];
  },
};

const repeatRowsOp: Op<{ readonly rows: number }> = {
  name: "repeatRows",
  infer: ([x], { rows }) => [{ shape: [rows, sizeOf(x)], dtype: "f32" }],
  derivative: (_, [gradient]) => [columnSum(gradient!)],
  evaluate([x], { outputs }) {
    return [new Float64Array(sizeOf(outputs[0])).map((_, i) => x[i % x.length])];
  },
  dispatches: ({ inputs: [x], outputs: [out] }) => [{
    kernel: renderKernel({ name: "repeat_rows", text: repeatText }, { WORKGROUP: 64 }),
    params: { size: sizeOf(out), cols: sizeOf(x) },
    bindings: { x, out },
    grid: linearGrid(sizeOf(out), 64),
  }],
};
