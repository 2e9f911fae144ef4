/** What softmax cross-entropies over many classes share on GPUs: a first stage by parts of rows, and the gradient. */

import gradientText from "../../../wgsl/logit_gradient.wgsl" with { type: "text" };
import partsText from "../../../wgsl/softmax_parts.wgsl" with { type: "text" };
import { type Grid, maxGroups, renderKernel } from "../../gpu/kernel.ts";
import type { Dispatch, Node, Tensor } from "../graph.ts";
import { scratchTensors } from "../scratch.ts";
import { lanesOnGpu } from "./layer_norm.ts";

/** Logits of some rows. */
export interface Logits {
  readonly rows: number;
  readonly classes: number;
  /** How many of a row's classes exist: the first. */
  readonly there: number;
}

/** Workgroups that keep a GPU busy, and the fewest classes that are worth one. */
const [enoughGroups, fewestClasses] = [1024, 4096];

/** Quads of classes in a part, and how many parts a row has. */
function tilingOf({ rows, there }: Logits): { readonly part: number; readonly parts: number } {
  const quads = Math.max(1, Math.ceil(there / 4));
  const wanted = Math.min(Math.ceil(enoughGroups / rows), Math.ceil(4 * quads / fewestClasses));
  const part = Math.ceil(quads / wanted);
  return { part, parts: Math.ceil(quads / part) };
}

/** `across` workgroups for each of `rows`. */
function rowGrid(across: number, rows: number): Grid {
  const layers = Math.ceil(rows / maxGroups);
  return [across, Math.ceil(rows / layers), layers];
}

const widthOf = ({ classes }: Logits) => classes % 4 === 0 ? 4 : 1;

/** (top, sum) of every part of every row, [rows, parts, 2], which the node's first launch leaves to its second. */
export function softmaxScratch(node: Node, logits: Logits): Tensor {
  return scratchTensors(node, [{ shape: [logits.rows, tilingOf(logits).parts, 2] }])[0];
}

/** The launch that fills `softmaxScratch`. */
export function softmaxPartsLaunch(node: Node, values: Tensor, logits: Logits): Dispatch {
  const { rows, classes, there } = logits;
  const { part, parts } = tilingOf(logits);
  return {
    kernel: renderKernel({ name: "softmax_parts", text: partsText }, {
      WIDTH: widthOf(logits),
      WORKGROUP: lanesOnGpu(there),
    }),
    params: { rows, classes, there, part },
    bindings: { logits: values, parts: softmaxScratch(node, logits) },
    grid: rowGrid(parts, rows),
  };
}

/** The launch of the gradient by the logits. `place`: the first of the rows and of the classes among all. */
export function logitGradientLaunch(
  logits: Logits,
  place: { readonly from_row: number; readonly first: number },
  bindings: Dispatch["bindings"],
): Dispatch {
  const { rows, classes, there } = logits;
  const WIDTH = widthOf(logits);
  return {
    kernel: renderKernel({ name: "logit_gradient", text: gradientText }, {
      OF_LSE: Number(bindings.lse !== undefined),
      IN_PLACE: Number(bindings.logits === undefined),
      WIDTH,
    }),
    params: { rows, classes, there, ...place },
    bindings,
    grid: rowGrid(Math.ceil(classes / WIDTH / 64), rows),
  };
}
