/** Some rows of a matrix, such as those of the tokens that are learnt. */

import text from "../../../wgsl/take_rows.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Op, sizeOf, type Tensor } from "../graph.ts";
import { checkMatrices } from "./shapes.ts";

/** Which rows are taken. */
export interface RowsToTake {
  /**
   * u32: the row of x for each row that may be taken; from x's number of rows on, a row of zeros. The gradient is right only where
   * no row is taken twice.
   */
  readonly rows: Tensor;
  /** u32, one for each row of x: its place in `rows`, or the number of `rows` where it is not taken. */
  readonly places: Tensor;
  /** The first place that is taken. */
  readonly from: number;
  /** How many are taken. */
  readonly count: number;
}

/** out[i] = x[rows[from + i]]: x [T, n] → [count, n]. `places` is the way back, for the gradient. */
export function takeRows(x: Tensor, { rows, places, from, count }: RowsToTake): Tensor {
  return x.node.graph.apply(takeRowsOp, [x, rows, places], { from, count, backward: false })[0];
}

interface Attrs {
  readonly from: number;
  readonly count: number;
  /** Whether this is the gradient: from the rows that were taken to all. */
  readonly backward: boolean;
}

const workgroup = 64;

/** Inputs: x (backward: the gradient of what was taken), rows, places. */
const takeRowsOp: Op<Attrs> = {
  name: "takeRows",
  wholeInputs: [1, 2],
  infer([x, rows, places], { from, count, backward }) {
    checkMatrices(x);
    const all = backward ? sizeOf(places) : x.shape[0];
    const isWithin = from >= 0 && from + count <= sizeOf(rows);
    if (sizeOf(places) !== all || !isWithin) {
      throw new Error(
        `rows ${describe(rows)} from ${from} to ${from + count}, with the places ${
          describe(places)
        }, do not fit ${describe(x)}`,
      );
    }
    return [{ shape: [backward ? all : count, x.shape[1]], dtype: "f32" }];
  },
  derivative: ({ inputs: [, rows, places], attrs, graph }, [gradient]) => [
    graph.apply(takeRowsOp, [gradient!, rows, places], { ...attrs, backward: true })[0],
    undefined,
    undefined,
  ],
  evaluate([x, rows, places], { inputs, outputs: [out], attrs: { from, backward } }) {
    const [have, width] = inputs[0].shape;
    return [Float64Array.from({ length: sizeOf(out) }, (_, i) => {
      const at = Math.floor(i / width);
      const row = backward ? places[at] - from : rows[from + at];
      return row >= 0 && row < have ? x[row * width + i % width] : 0;
    })];
  },
  dispatches({ inputs: [x, rows, places], outputs: [out], attrs: { from, backward } }) {
    const [base, shift] = backward ? [0, from] : [from, 0];
    return [{
      kernel: renderKernel({ name: "take_rows", text }, { WORKGROUP: workgroup }),
      params: { size: sizeOf(out), width: x.shape[1], rows: x.shape[0], base, shift },
      bindings: { x, index: backward ? places : rows, out },
      grid: linearGrid(sizeOf(out), workgroup),
    }];
  },
};
