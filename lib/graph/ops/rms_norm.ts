/**
 * Root mean square normalisation over the last dimension (RMSNorm, Zhang & Sennrich 2019), as in LLaMA
 * (Touvron et al. 2023), and its gradients. It is layer normalisation without the mean and without β.
 */

import text from "../../../wgsl/rms_norm.wgsl" with { type: "text" };
import registersText from "../../../wgsl/rms_norm_registers.wgsl" with { type: "text" };
import weightText from "../../../wgsl/rms_norm_weight.wgsl" with { type: "text" };
import { type DeviceTraits, linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Node, type Op, sizeOf, type Spec, type Tensor } from "../graph.ts";
import { columnLaunches, columnScratch, type ColumnSums } from "./column_teams.ts";
import { registersOf, rowLanes } from "./layer_norm.ts";

interface Attrs {
  readonly epsilon: number;
}

/** γ ⊙ x/√(mean(x²) + ε) for each row of x: [T, n], γ: [n]. Throws an Error naming both shapes when γ does not fit. */
export function rmsNorm(x: Tensor, gamma: Tensor, epsilon: number): Tensor {
  return x.node.graph.apply(rmsNormOp, [x, gamma], { epsilon })[0];
}

function checkShapes([x, gamma]: readonly Spec[]): void {
  if (x.shape.length !== 2 || sizeOf(gamma) !== x.shape[1]) {
    throw new Error(`scale ${describe(gamma)} does not fit the rows of ${describe(x)}`);
  }
}

/** A launch with one workgroup per row; `epsilon` in the forward pass. */
function rowsDispatch(
  { inputs: [x] }: Node,
  device: DeviceTraits,
  bindings: Dispatch["bindings"],
  epsilon?: number,
): Dispatch {
  const [rows, cols] = x.shape;
  const WIDTH = cols % 4 === 0 ? 4 : 1;
  const BACKWARD = Number(epsilon === undefined);
  const RESIDUAL = Number(bindings.residual !== undefined);
  const registers = registersOf(cols, device);
  const kernel = registers
    ? renderKernel({ name: "rms_norm_registers", text: registersText }, { BACKWARD, RESIDUAL, ...registers })
    : renderKernel({ name: "rms_norm", text }, {
      BACKWARD,
      RESIDUAL,
      WIDTH,
      WORKGROUP: rowLanes(cols, device),
    });
  return {
    kernel,
    params: { rows, cols: cols / WIDTH, ...(epsilon === undefined ? {} : { epsilon }) },
    bindings,
    grid: linearGrid(rows, 1),
  };
}

/** Outputs: the normalised rows, and each row's 1/√(mean(x²) + ε) for the backward pass. */
const rmsNormOp: Op<Attrs> = {
  name: "rmsNorm",
  infer(inputs) {
    checkShapes(inputs);
    const { shape } = inputs[0];
    return [{ shape, dtype: "f32" }, { shape: [shape[0]], dtype: "f32" }];
  },
  derivative({ inputs: [x, gamma], outputs: [, scales], graph }, [gradient]) {
    return [
      graph.apply(inputOp, [x, gamma, scales, gradient!], undefined)[0],
      graph.apply(weightOp, [x, scales, gradient!], undefined)[0],
    ];
  },
  evaluate([x, gamma], { inputs, attrs }) {
    const [rows, cols] = inputs[0].shape;
    const scales = Float64Array.from({ length: rows }, (_, row) => {
      const squares = x.subarray(row * cols, (row + 1) * cols).reduce((sum, value) => sum + value ** 2, 0);
      return 1 / Math.sqrt(squares / cols + attrs.epsilon);
    });
    return [x.map((value, i) => gamma[i % cols] * value * scales[Math.floor(i / cols)]), scales];
  },
  dispatches(node, _, device) {
    const [x, gamma] = node.inputs;
    const [out, scales] = node.outputs;
    return [rowsDispatch(node, device, { x, gamma, out, scales }, node.attrs.epsilon)];
  },
};

/** dx from x, γ, the rows' scales and dy. An optional fifth input is a gradient to add onto. */
const inputOp: Op<undefined> = {
  name: "rmsNormInputGradient",
  infer: ([x]) => [{ shape: x.shape, dtype: "f32" }],
  accumulate({ node: { inputs, graph } }, onto) {
    return inputs.length === 4 ? graph.apply(inputOp, [...inputs, onto], undefined)[0] : undefined;
  },
  evaluate([x, gamma, scales, dy, onto], { inputs }) {
    const [rows, cols] = inputs[0].shape;
    const out = new Float64Array(rows * cols);
    for (let row = 0; row < rows; row++) {
      const [from, to] = [row * cols, (row + 1) * cols];
      const normal = x.subarray(from, to).map((value) => value * scales[row]);
      const g = dy.subarray(from, to).map((value, j) => value * gamma[j]);
      const meanGx = g.reduce((sum, value, j) => sum + value * normal[j], 0) / cols;
      g.forEach((value, j) => {
        out[from + j] = (value - normal[j] * meanGx) * scales[row] + (onto ? onto[from + j] : 0);
      });
    }
    return [out];
  },
  dispatches(node, _, device) {
    const [x, gamma, scales, dy, residual] = node.inputs;
    const bindings = { x, gamma, scales, dy, out: node.outputs[0], ...(residual ? { residual } : {}) };
    return [rowsDispatch(node, device, bindings)];
  },
};

const weightWorkgroup = 32;

function weightSums({ inputs: [x, scales, dy], outputs }: Node): ColumnSums {
  const [rows, cols] = x.shape;
  return { term: "rmsNormWeight", reads: { x, scales, dy }, outputs, texts: 1, rows, cols };
}

/** dγ from x, the rows' scales and dy. */
const weightOp: Op<undefined> = {
  name: "rmsNormWeightGradient",
  infer: ([x]) => [{ shape: [x.shape[1]], dtype: "f32" }],
  evaluate([x, scales, dy], { inputs }) {
    const cols = inputs[0].shape[1];
    const out = new Float64Array(cols);
    x.forEach((value, i) => out[i % cols] += dy[i] * value * scales[Math.floor(i / cols)]);
    return [out];
  },
  scratch: (node, { software }) => software ? [] : columnScratch(node, weightSums(node)),
  dispatches(node, _, { software }) {
    if (!software) return columnLaunches(node, weightSums(node));
    const { inputs: [x, scales, dy], outputs: [d_gamma] } = node;
    const [rows, cols] = x.shape;
    return [{
      kernel: renderKernel({ name: "rms_norm_weight", text: weightText }, { WORKGROUP: weightWorkgroup }),
      params: { rows, cols },
      bindings: { x, scales, dy, d_gamma },
      grid: linearGrid(cols, 1),
    }];
  },
};
