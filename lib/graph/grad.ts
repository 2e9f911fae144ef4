/** Reverse-mode differentiation: appends the backward ops to the graph they differentiate. */

import type { Node, Tensor } from "./graph.ts";
import { reachable } from "./graph.ts";
import { add } from "./ops/binary.ts";

/**
 * ∂loss/∂w for each of `targets` (a scalar loss; the seed gradient is the loss op's own). Nothing is built for tensors
 * that no target feeds, so frozen weights and all that lies below the first adapter cost nothing.
 * @throws Error for a loss that is not a scalar, an op without a derivative, or a target the loss does not depend on.
 */
export function grad(loss: Tensor, targets: readonly Tensor[]): Tensor[] {
  if (loss.shape.length !== 1 || loss.shape[0] !== 1) {
    throw new Error(`grad wants a [1] loss, not [${loss.shape}]`);
  }
  const path = nodesBetween(loss, targets);
  const pending = new Map<Tensor, Tensor>();
  for (const node of reachable([loss]).reverse()) {
    if (!path.has(node) || node.op === undefined) continue;
    const gradients = node.outputs.map((output) => pending.get(output));
    if (node !== loss.node && gradients.every((gradient) => gradient === undefined)) continue;
    if (!node.op.derivative) throw new Error(`${node.op.name} at "${node.name}" has no derivative`);
    const contributions = node.graph.scope(`${node.name}'`, () => node.op!.derivative!(node, gradients));
    node.inputs.forEach((input, i) => {
      const contribution = contributions[i];
      if (contribution && path.has(input.node)) {
        pending.set(input, accumulate(pending.get(input), contribution));
      }
    });
  }
  return targets.map((target) => {
    const gradient = pending.get(target);
    if (!gradient) throw new Error(`the loss does not depend on "${target.node.name}"`);
    return gradient;
  });
}

/** Nodes that depend on a target and that `loss` depends on. */
function nodesBetween(loss: Tensor, targets: readonly Tensor[]): Set<Node> {
  const between = new Set(targets.map((target) => target.node));
  for (const node of reachable([loss])) {
    if (node.inputs.some((input) => between.has(input.node))) between.add(node);
  }
  return between;
}

/** The sum of two gradients; in the second one's own kernel where it can add onto the first. */
function accumulate(sum: Tensor | undefined, contribution: Tensor): Tensor {
  if (!sum) return contribution;
  return contribution.node.op?.accumulate?.(contribution, sum) ?? add(sum, contribution);
}
