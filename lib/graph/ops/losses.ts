/** The two losses: weighted softmax cross-entropy and weighted mean squared error. */

import crossEntropyText from "../../../wgsl/cross_entropy.wgsl" with { type: "text" };
import squaredErrorText from "../../../wgsl/mean_squared_error.wgsl" with { type: "text" };
import { type DeviceTraits, linearGrid, renderKernel } from "../../gpu/kernel.ts";
import {
  describe,
  type Dispatch,
  kindOf,
  type Node,
  type Op,
  sizeOf,
  type Spec,
  type Tensor,
} from "../graph.ts";
import { rowLanes } from "./layer_norm.ts";
import { logitGradientLaunch, type Logits, softmaxPartsLaunch, softmaxScratch } from "./softmax_loss.ts";

const scalar: Spec = { shape: [1], dtype: "f32" };
const workgroup = 64;

/**
 * Σ_i w_i (lse_i − x[i, label_i]) / Σ_i w_i → [1]. logits [rows, classes], or [rows·options, 1] as the scores of a multiple
 * choice, labels [rows] u32, weights [rows]; a weight of 0 leaves a row out. The gradient is that by the logits.
 * @throws Error naming the shapes when they do not fit.
 */
export function crossEntropy(logits: Tensor, labels: Tensor, weights: Tensor): Tensor {
  return logits.node.graph.apply(crossEntropyOp, [logits, labels, weights], undefined)[0];
}

/**
 * Σ_i w_i (x_i − y_i)² / Σ_i w_i → [1]. predictions x, targets y, weights: [rows] or [rows, 1]. The gradient is that by the
 * predictions.
 * @throws Error naming the shapes when their sizes differ.
 */
export function meanSquaredError(predictions: Tensor, targets: Tensor, weights: Tensor): Tensor {
  return predictions.node.graph.apply(squaredErrorOp, [predictions, targets, weights], undefined)[0];
}

/**
 * Σ_i w_i of a loss that is a mean, [1]: the weight that it divides by.
 * @throws Error for a tensor that is no loss, and for a loss that is no mean, as that of `sumOfSquares`.
 */
export function weightOfLoss(loss: Tensor): Tensor {
  const { op, outputs } = loss.node;
  if (!op?.isLoss || loss.index !== 0 || outputs.length === 1) {
    throw new Error(
      `${kindOf(loss)} is no mean with a weight: give what crossEntropy or meanSquaredError returns`,
    );
  }
  return outputs.at(-1)!;
}

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}

function entropyDispatch(
  pass: 0 | 1 | 2 | 3,
  [logits, labels]: readonly Tensor[],
  bindings: Dispatch["bindings"],
  grid: Dispatch["grid"],
  { lanes = workgroup, ...further }: { readonly lanes?: number; readonly parts_of_row?: number } = {},
): Dispatch {
  const { rows, classes } = extents(logits, labels);
  return {
    kernel: renderKernel({ name: "cross_entropy", text: crossEntropyText }, {
      PASS: pass,
      WORKGROUP: lanes,
    }),
    params: { rows, classes, ...further },
    bindings,
    grid,
  };
}

/** There is one row per label; the classes follow from the size of the logits. */
function extents(logits: Spec, labels: Spec): { rows: number; classes: number } {
  return { rows: sizeOf(labels), classes: sizeOf(logits) / sizeOf(labels) };
}

/** The fewest classes whose logits a GPU reads in parts of rows. */
const fewestInParts = 256;

/** The logits as a GPU's launches for many classes take them; undefined for few, and on software drivers. */
function manyLogits([logits, labels]: readonly Spec[], { software }: DeviceTraits): Logits | undefined {
  const { rows, classes } = extents(logits, labels);
  return software || classes < fewestInParts ? undefined : { rows, classes, there: classes };
}

/** The launches that compute each row's log-sum-exp and weighted loss. */
function rowLosses(node: Node, device: DeviceTraits): Dispatch[] {
  const { inputs, outputs: [, lse, row_loss] } = node;
  const [logits, labels, weights] = inputs;
  const bindings = { logits, labels, weights, lse, row_loss };
  const grid = linearGrid(sizeOf(labels), 1);
  const many = manyLogits(inputs, device);
  if (!many) {
    const lanes = rowLanes(extents(logits, labels).classes, device);
    return [entropyDispatch(0, inputs, bindings, grid, { lanes })];
  }
  const parts = softmaxScratch(node, many);
  return [
    softmaxPartsLaunch(node, logits, many),
    entropyDispatch(3, inputs, { ...bindings, parts }, grid, { parts_of_row: parts.shape[1] }),
  ];
}

/** Outputs: loss, and for the backward pass each row's log-sum-exp, weighted loss, and the sum of the weights. */
const crossEntropyOp: Op<undefined> = {
  name: "crossEntropy",
  isLoss: true,
  wholeInputs: [1],
  infer([logits, labels, weights]) {
    const { rows, classes } = extents(logits, labels);
    const areRows = logits.shape[0] === rows ||
      (sizeOf(logits) === logits.shape[0] && Number.isInteger(classes));
    if (sizeOf(weights) !== rows || !areRows) {
      throw new Error(
        `logits ${describe(logits)}, labels ${describe(labels)} and weights ${describe(weights)} do not fit`,
      );
    }
    const perRow: Spec = { shape: [rows], dtype: "f32" };
    return [scalar, perRow, perRow, scalar];
  },
  derivative({ inputs: [logits, labels, weights], outputs: [, lse, , total], graph }) {
    return graph.apply(crossEntropyGradientOp, [logits, labels, weights, lse, total], undefined);
  },
  evaluate([logits, labels, weights], { inputs }) {
    const { rows, classes } = extents(inputs[0], inputs[1]);
    const lse = new Float64Array(rows).map((_, i) => {
      const row = logits.subarray(i * classes, (i + 1) * classes);
      const top = row.reduce((most, value) => Math.max(most, value));
      return top + Math.log(sum(row.map((value) => Math.exp(value - top))));
    });
    const rowLoss = lse.map((value, i) => weights[i] * (value - logits[i * classes + labels[i]]));
    return [Float64Array.of(sum(rowLoss) / sum(weights)), lse, rowLoss, Float64Array.of(sum(weights))];
  },
  scratch(node, device) {
    const many = manyLogits(node.inputs, device);
    return many ? [softmaxScratch(node, many)] : [];
  },
  dispatches(node, _, device) {
    const { inputs, outputs: [loss, , row_loss, total] } = node;
    const [, , weights] = inputs;
    return [
      ...rowLosses(node, device),
      entropyDispatch(1, inputs, { weights, row_loss, loss, total }, [1, 1, 1]),
    ];
  },
};

const crossEntropyGradientOp: Op<undefined> = {
  name: "crossEntropyGradient",
  wholeInputs: [1],
  infer: ([logits]) => [{ shape: logits.shape, dtype: "f32" }],
  evaluate([logits, labels, weights, lse, total], { inputs }) {
    const { classes } = extents(inputs[0], inputs[1]);
    return [logits.map((value, at) => {
      const i = Math.floor(at / classes);
      return (Math.exp(value - lse[i]) - Number(at % classes === labels[i])) * weights[i] / total[0];
    })];
  },
  dispatches({ inputs, outputs: [out] }, _, device) {
    const [logits, labels, weights, lse, total] = inputs;
    const bindings = { logits, labels, weights, lse, total, out };
    if (device.software) return [entropyDispatch(2, inputs, bindings, linearGrid(sizeOf(logits), workgroup))];
    const { rows, classes } = extents(logits, inputs[1]);
    return [logitGradientLaunch({ rows, classes, there: classes }, { from_row: 0, first: 0 }, bindings)];
  },
};

function errorDispatch(BACKWARD: number, bindings: Dispatch["bindings"]): Dispatch {
  return {
    kernel: renderKernel({ name: "mean_squared_error", text: squaredErrorText }, {
      BACKWARD,
      WORKGROUP: workgroup,
    }),
    params: { size: sizeOf(bindings.x) },
    bindings,
    grid: BACKWARD ? linearGrid(sizeOf(bindings.x), workgroup) : [1, 1, 1],
  };
}

/** Outputs: loss and the sum of the weights. */
const squaredErrorOp: Op<undefined> = {
  name: "meanSquaredError",
  isLoss: true,
  infer([predictions, targets, weights]) {
    if ([targets, weights].some((spec) => sizeOf(spec) !== sizeOf(predictions))) {
      throw new Error(
        `predictions ${describe(predictions)}, targets ${describe(targets)}, weights ${
          describe(weights)
        } do not fit`,
      );
    }
    return [scalar, scalar];
  },
  derivative({ inputs, outputs: [, total], graph }) {
    return graph.apply(squaredErrorGradientOp, [...inputs, total], undefined);
  },
  evaluate([x, targets, weights]) {
    const total = sum(weights);
    return [
      Float64Array.of(sum(x.map((value, i) => weights[i] * (value - targets[i]) ** 2)) / total),
      Float64Array.of(total),
    ];
  },
  dispatches: ({ inputs: [x, targets, weights], outputs: [loss, total] }) => [
    errorDispatch(0, { x, targets, weights, loss, total }),
  ],
};

const squaredErrorGradientOp: Op<undefined> = {
  name: "meanSquaredErrorGradient",
  infer: ([predictions]) => [{ shape: predictions.shape, dtype: "f32" }],
  evaluate: (
    [x, targets, weights, total],
  ) => [x.map((value, i) => 2 * weights[i] * (value - targets[i]) / total[0])],
  dispatches: ({ inputs: [x, targets, weights, total], outputs: [out] }) => [
    errorDispatch(1, { x, targets, weights, total, out }),
  ],
};
