/** Softmax over short rows, such as a router's weights of its experts. */

import text from "../../../wgsl/softmax_rows.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import type { Dispatch, Op, Tensor } from "../graph.ts";
import { checkMatrices } from "./shapes.ts";

/** softmax of every row: [rows, cols] → [rows, cols]. */
export function softmaxRows(x: Tensor): Tensor {
  return x.node.graph.apply(softmaxRowsOp, [x], undefined)[0];
}

const workgroup = 64;

function dispatch(bindings: Dispatch["bindings"]): Dispatch[] {
  const [rows, cols] = bindings.x.shape;
  const defines = { BACKWARD: Number(bindings.gradient !== undefined), WORKGROUP: workgroup };
  return [{
    kernel: renderKernel({ name: "softmax_rows", text }, defines),
    params: { rows, cols },
    bindings,
    grid: linearGrid(rows, workgroup),
  }];
}

/** Calls `f` on every row of `x` and of the other matrices. */
function byRow(
  cols: number,
  x: Float64Array,
  others: readonly Float64Array[],
  f: (row: Float64Array, ...others: Float64Array[]) => Float64Array,
): Float64Array {
  const out = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += cols) {
    const [row, ...rest] = [x, ...others].map((values) => values.subarray(start, start + cols));
    out.set(f(row, ...rest), start);
  }
  return out;
}

const softmaxRowsOp: Op<undefined> = {
  name: "softmaxRows",
  infer([x]) {
    checkMatrices(x);
    return [{ shape: x.shape, dtype: "f32" }];
  },
  derivative: ({ outputs: [p], graph }, [gradient]) =>
    graph.apply(softmaxRowsGradientOp, [p, gradient!], undefined),
  evaluate: ([x], { inputs }) => [byRow(inputs[0].shape[1], x, [], (row) => {
    const top = row.reduce((most, value) => Math.max(most, value));
    const exponentials = row.map((value) => Math.exp(value - top));
    const sum = exponentials.reduce((total, value) => total + value, 0);
    return exponentials.map((value) => value / sum);
  })],
  dispatches: ({ inputs: [x], outputs: [out] }) => dispatch({ x, out }),
};

/** p ⊙ (g − ⟨g, p⟩), row by row. */
const softmaxRowsGradientOp: Op<undefined> = {
  name: "softmaxRowsGradient",
  infer: ([p]) => [p],
  evaluate: ([p, gradient], { inputs }) => [byRow(inputs[0].shape[1], p, [gradient], (row, g) => {
    const inner = row.reduce((sum, value, j) => sum + value * g[j], 0);
    return row.map((value, j) => value * (g[j] - inner));
  })],
  dispatches: ({ inputs: [x, gradient], outputs: [out] }) => dispatch({ x, gradient, out }),
};
