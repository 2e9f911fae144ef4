/** Reverse-mode differentiation: appends the backward ops to the graph they differentiate. */

import type { Node, Tensor } from "./graph.ts";
import { reachable } from "./graph.ts";
import { add } from "./ops/binary.ts";

/**
 * ∂(Σ losses)/∂w for each of `targets`. A loss is the scalar output of an op that seeds its own derivative. Nothing is built
 * for tensors that no target feeds, so frozen weights and all that lies below the first adapter cost nothing.
 * @throws Error for a loss that is not a scalar, an op without a derivative, or a target the losses do not depend on.
 */
export function grad(losses: readonly Tensor[], targets: readonly Tensor[]): Tensor[] {
  for (const { shape } of losses) {
    if (shape.length !== 1 || shape[0] !== 1) throw new Error(`grad wants a [1] loss, not [${shape}]`);
  }
  const path = nodesBetween(losses, targets);
  const seeds = new Set(losses.map(({ node }) => node));
  const pending = new Map<Tensor, Tensor>();
  for (const node of reachable(losses).reverse()) {
    if (!path.has(node) || node.op === undefined) continue;
    const gradients = node.outputs.map((output) => pending.get(output));
    if (!seeds.has(node) && gradients.every((gradient) => gradient === undefined)) continue;
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

/** Nodes that depend on a target, other than through a detached op, and that a loss depends on. */
function nodesBetween(losses: readonly Tensor[], targets: readonly Tensor[]): Set<Node> {
  const between = new Set(targets.map((target) => target.node));
  for (const node of reachable(losses)) {
    if (!node.op?.detached && node.inputs.some((input) => between.has(input.node))) between.add(node);
  }
  return between;
}

/** The sum of two gradients; in the second one's own kernel where it can add onto the first. */
function accumulate(sum: Tensor | undefined, contribution: Tensor): Tensor {
  if (!sum) return contribution;
  return contribution.node.op?.accumulate?.(contribution, sum) ?? add(sum, contribution);
}
