/** Layer normalisation over the last dimension (Ba et al. 2016) and its gradients. */

import text from "../../../wgsl/layer_norm.wgsl" with { type: "text" };
import parametersText from "../../../wgsl/layer_norm_parameters.wgsl" with { type: "text" };
import registersText from "../../../wgsl/layer_norm_registers.wgsl" with { type: "text" };
import { type DeviceTraits, linearGrid, renderKernel, sharingLanes } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Node, type Op, sizeOf, type Spec, type Tensor } from "../graph.ts";
import { columnLaunches, columnScratch, type ColumnSums } from "./column_teams.ts";

interface Attrs {
  readonly epsilon: number;
}

const workgroup = 32;

/** γ ⊙ (x − mean)/√(var + ε) + β for each row of x: [T, n], γ and β: [n]. */
export function layerNorm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: number): Tensor {
  return x.node.graph.apply(layerNormOp, [x, gamma, beta], { epsilon })[0];
}

function checkShapes([x, gamma]: readonly Spec[]): void {
  if (x.shape.length !== 2 || sizeOf(gamma) !== x.shape[1]) {
    throw new Error(`scale ${describe(gamma)} does not fit the rows of ${describe(x)}`);
  }
}

function checkShift([x, , beta]: readonly Spec[]): void {
  if (sizeOf(beta) === x.shape[1]) return;
  throw new Error(`shift ${describe(beta)} does not fit the rows of ${describe(x)}`);
}

/** The normalised row, and 1/√(var + ε). */
function normalise(
  x: Float64Array,
  row: number,
  cols: number,
  epsilon: number,
): { normal: Float64Array; scale: number } {
  const values = x.subarray(row * cols, (row + 1) * cols);
  const mean = values.reduce((sum, value) => sum + value, 0) / cols;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / cols;
  const scale = 1 / Math.sqrt(variance + epsilon);
  return { normal: values.map((value) => (value - mean) * scale), scale };
}

function params({ inputs: [x], attrs }: Node<Attrs>) {
  return { rows: x.shape[0], cols: x.shape[1], epsilon: attrs.epsilon };
}

/** Lanes per row: a small subgroup's, whose barriers are free on a software driver, or else 32. */
export function lanesOf(device: DeviceTraits): number {
  return sharingLanes(device) || workgroup;
}

/** A GPU's lanes for a row of `cols` floats: those of a wave, or of a full workgroup where they have 16 floats each. */
export function lanesOnGpu(cols: number): number {
  return cols <= 128 ? 32 : cols <= 1024 ? 64 : 256;
}

/** Lanes per row of `cols` floats. */
export function rowLanes(cols: number, device: DeviceTraits): number {
  return device.software ? lanesOf(device) : lanesOnGpu(cols);
}

/** The longest row that a GPU's lanes keep in registers: 8 vec4s each. */
const mostInRegisters = 8192;

/** How lanes keep a row in registers. */
export interface RowRegisters {
  readonly WORKGROUP: number;
  /** Vec4s of a lane. */
  readonly QUADS: number;
}

/** How a GPU's lanes keep a row of `cols` floats in registers; undefined where they cannot, and on software drivers. */
export function registersOf(cols: number, { software }: DeviceTraits): RowRegisters | undefined {
  if (software || cols % 4 !== 0 || cols > mostInRegisters) return undefined;
  const lanes = lanesOnGpu(cols);
  return { WORKGROUP: lanes, QUADS: Math.ceil(cols / 4 / lanes) };
}

/** A launch with one workgroup per row: y, or dx where dy is bound. */
function rowsDispatch(node: Node<Attrs>, device: DeviceTraits, bindings: Dispatch["bindings"]): Dispatch {
  const [rows, cols] = node.inputs[0].shape;
  const BACKWARD = Number(bindings.dy !== undefined);
  const registers = registersOf(cols, device);
  if (registers) return inRegisters(node, registers, BACKWARD, bindings);
  const WIDTH = cols % 4 === 0 ? 4 : 1;
  const defines = {
    BACKWARD,
    RESIDUAL: Number(bindings.residual !== undefined),
    WIDTH,
    WORKGROUP: rowLanes(cols, device),
  };
  return {
    kernel: renderKernel({ name: "layer_norm", text }, defines),
    params: { rows, cols: cols / WIDTH, epsilon: node.attrs.epsilon },
    bindings,
    grid: linearGrid(rows, 1),
  };
}

/** The same with rows in registers. RESULT as in the WGSL. */
function inRegisters(
  { inputs: [x], attrs: { epsilon } }: Node<Attrs>,
  registers: RowRegisters,
  RESULT: number,
  bindings: Dispatch["bindings"],
): Dispatch {
  const [rows, cols] = x.shape;
  const RESIDUAL = Number(bindings.residual !== undefined);
  return {
    kernel: renderKernel({ name: "layer_norm_registers", text: registersText }, {
      RESULT,
      RESIDUAL,
      ...registers,
    }),
    params: { rows, cols: cols / 4, epsilon },
    bindings,
    grid: linearGrid(rows, 1),
  };
}

const layerNormOp: Op<Attrs> = {
  name: "layerNorm",
  infer(inputs) {
    checkShapes(inputs);
    checkShift(inputs);
    return [{ shape: inputs[0].shape, dtype: "f32" }];
  },
  derivative({ inputs: [x, gamma], attrs }, [gradient]) {
    const [dGamma, dBeta] = x.node.graph.apply(parametersOp, [x, gamma, gradient!], attrs);
    return [x.node.graph.apply(inputOp, [x, gamma, gradient!], attrs)[0], dGamma, dBeta];
  },
  evaluate([x, gamma, beta], { inputs, attrs }) {
    const [rows, cols] = inputs[0].shape;
    const out = new Float64Array(rows * cols);
    for (let row = 0; row < rows; row++) {
      const { normal } = normalise(x, row, cols, attrs.epsilon);
      normal.forEach((value, j) => out[row * cols + j] = gamma[j] * value + beta[j]);
    }
    return [out];
  },
  dispatches(node, _, device) {
    const [x, gamma, beta] = node.inputs;
    return [rowsDispatch(node, device, { x, gamma, beta, out: node.outputs[0] })];
  },
};

/** dx of a layer norm. An optional fourth input is a gradient to add onto. */
const inputOp: Op<Attrs> = {
  name: "layerNormInputGradient",
  infer(inputs) {
    checkShapes(inputs);
    return [{ shape: inputs[0].shape, dtype: "f32" }];
  },
  accumulate(gradient, onto) {
    const { inputs, attrs, graph } = gradient.node;
    return inputs.length === 3 ? graph.apply(inputOp, [...inputs, onto], attrs)[0] : undefined;
  },
  evaluate([x, gamma, dy, onto], { inputs, attrs }) {
    const [rows, cols] = inputs[0].shape;
    const out = new Float64Array(rows * cols);
    for (let row = 0; row < rows; row++) {
      const { normal, scale } = normalise(x, row, cols, attrs.epsilon);
      const g = normal.map((_, j) => gamma[j] * dy[row * cols + j]);
      const meanG = g.reduce((sum, value) => sum + value, 0) / cols;
      const meanGx = g.reduce((sum, value, j) => sum + value * normal[j], 0) / cols;
      g.forEach((value, j) => {
        const at = row * cols + j;
        out[at] = (value - meanG - normal[j] * meanGx) * scale + (onto ? onto[at] : 0);
      });
    }
    return [out];
  },
  dispatches(node, _, device) {
    const [x, gamma, dy, residual] = node.inputs;
    return [
      rowsDispatch(node, device, { x, gamma, dy, out: node.outputs[0], ...(residual ? { residual } : {}) }),
    ];
  },
};

/** A launch that writes the rows' statistics. */
function statisticsDispatch(node: Node<Attrs>, device: DeviceTraits): Dispatch {
  const { inputs: [x], outputs: [, , statistics] } = node;
  const registers = registersOf(x.shape[1], device);
  if (registers) return inRegisters(node, registers, 2, { x, statistics });
  return {
    kernel: parametersKernel(1, device.software ? workgroup : rowLanes(x.shape[1], device)),
    params: params(node),
    bindings: { x, statistics },
    grid: linearGrid(x.shape[0], 1),
  };
}

function parametersKernel(STATISTICS: number, WORKGROUP: number) {
  return renderKernel({ name: "layer_norm_parameters", text: parametersText }, { STATISTICS, WORKGROUP });
}

/** dγ and dβ as sums over rows. */
function sumsOf({ inputs: [x, , dy], outputs: [dGamma, dBeta, statistics] }: Node<Attrs>): ColumnSums {
  const [rows, cols] = x.shape;
  const reads = { x, dy, statistics };
  return { term: "layerNormParameters", reads, outputs: [dGamma, dBeta], texts: 1, rows, cols };
}

/** dγ, dβ and, as scratch, the rows' statistics. */
const parametersOp: Op<Attrs> = {
  name: "layerNormParameterGradients",
  infer(inputs) {
    checkShapes(inputs);
    const vector: Spec = { shape: [inputs[0].shape[1]], dtype: "f32" };
    return [vector, vector, { shape: [inputs[0].shape[0], 2], dtype: "f32" }];
  },
  evaluate([x, , dy], { inputs, attrs }) {
    const [rows, cols] = inputs[0].shape;
    const [dGamma, dBeta, statistics] = [
      new Float64Array(cols),
      new Float64Array(cols),
      new Float64Array(rows * 2),
    ];
    for (let row = 0; row < rows; row++) {
      const { normal, scale } = normalise(x, row, cols, attrs.epsilon);
      statistics[2 * row] = x[row * cols] - normal[0] / scale;
      statistics[2 * row + 1] = scale;
      for (let j = 0; j < cols; j++) {
        dGamma[j] += dy[row * cols + j] * normal[j];
        dBeta[j] += dy[row * cols + j];
      }
    }
    return [dGamma, dBeta, statistics];
  },
  scratch: (node, { software }) => software ? [] : columnScratch(node, sumsOf(node)),
  dispatches(node, _, device) {
    const rows = statisticsDispatch(node, device);
    if (!device.software) return [rows, ...columnLaunches(node, sumsOf(node))];
    const [x, , dy] = node.inputs;
    const [d_gamma, d_beta, statistics] = node.outputs;
    const columns: Dispatch = {
      kernel: parametersKernel(0, workgroup),
      params: params(node),
      bindings: { x, dy, statistics, d_gamma, d_beta },
      grid: linearGrid(x.shape[1], 1),
    };
    return [rows, columns];
  },
};
