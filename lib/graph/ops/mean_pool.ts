/** The mean of each text's token vectors. */

import text from "../../../wgsl/mean_pool.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Node, type Op, sizeOf, type Tensor } from "../graph.ts";
import { columnLaunches, columnScratch, type ColumnSums } from "./column_teams.ts";
import { checkMatrices } from "./shapes.ts";

/** Mean over the first `lengths[b]` of each text's tokens: x [batch·length, n], lengths [batch] u32 → [batch, n]. */
export function meanPool(x: Tensor, lengths: Tensor): Tensor {
  return x.node.graph.apply(meanPoolOp, [x, lengths], { length: x.shape[0] / lengths.shape[0] })[0];
}

interface Attrs {
  readonly length: number;
}

const workgroup = 64;

function dispatch(BACKWARD: number, x: Tensor, lengths: Tensor, out: Tensor, attrs: Attrs): Dispatch[] {
  return [{
    kernel: renderKernel({ name: "mean_pool", text }, { BACKWARD, WORKGROUP: workgroup }),
    params: { size: sizeOf(out), length: attrs.length, width: out.shape[1] },
    bindings: { x, lengths, out },
    grid: linearGrid(sizeOf(out), workgroup),
  }];
}

function sumsOf({ inputs: [x, lengths], outputs, attrs: { length } }: Node<Attrs>): ColumnSums {
  const [texts, cols] = outputs[0].shape;
  return { term: "values", finish: "mean", reads: { x }, outputs, texts, rows: length, cols, lengths };
}

const meanPoolOp: Op<Attrs> = {
  name: "meanPool",
  wholeInputs: [1],
  infer([x, lengths], { length }) {
    checkMatrices(x);
    if (!Number.isInteger(length)) {
      throw new Error(`${describe(x)} is not ${lengths.shape[0]} texts of one length`);
    }
    return [{ shape: [lengths.shape[0], x.shape[1]], dtype: "f32" }];
  },
  derivative: ({ inputs: [, lengths], attrs, graph }, [gradient]) => [
    graph.apply(meanPoolGradientOp, [gradient!, lengths], attrs)[0],
    undefined,
  ],
  evaluate([x, lengths], { outputs, attrs }) {
    const [batch, width] = outputs[0].shape;
    const out = new Float64Array(batch * width);
    for (let b = 0; b < batch; b++) {
      for (let l = 0; l < lengths[b]; l++) {
        for (let j = 0; j < width; j++) {
          out[b * width + j] += x[(b * attrs.length + l) * width + j] / lengths[b];
        }
      }
    }
    return [out];
  },
  scratch: (node, { software }) => software ? [] : columnScratch(node, sumsOf(node)),
  dispatches(node, _, { software }) {
    if (!software) return columnLaunches(node, sumsOf(node));
    const { inputs: [x, lengths], outputs: [out], attrs } = node;
    return dispatch(0, x, lengths, out, attrs);
  },
};

const meanPoolGradientOp: Op<Attrs> = {
  name: "meanPoolGradient",
  wholeInputs: [1],
  infer: (
    [gradient],
    { length },
  ) => [{ shape: [gradient.shape[0] * length, gradient.shape[1]], dtype: "f32" }],
  evaluate([gradient, lengths], { outputs, attrs }) {
    const width = outputs[0].shape[1];
    return [new Float64Array(sizeOf(outputs[0])).map((_, i) => {
      const row = Math.floor(i / width);
      const b = Math.floor(row / attrs.length);
      return row % attrs.length < lengths[b] ? gradient[b * width + i % width] / lengths[b] : 0;
    })];
  },
  dispatches: ({ inputs: [gradient, lengths], outputs: [out], attrs }) =>
    dispatch(1, gradient, lengths, out, attrs),
};
