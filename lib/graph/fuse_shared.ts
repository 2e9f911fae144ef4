/**
 * Merges products that read the same x (those of a layer's queries, keys and values: an adapter's small ones, and a token's or
 * a few tokens' own), before buffers are planned.
 */

import type { Node, Tensor } from "./graph.ts";
import { type Sharing, sharingOf } from "./ops/product/shared.ts";

/** Products to be merged, by their index among the nodes. */
interface Group {
  readonly sharing: Sharing;
  readonly steps: number[];
}

/**
 * Returns `nodes` in an executable order, with two or three products merged where one kernel computes them.
 */
export function fuseShared(nodes: readonly Node[]): Node[] {
  const merged = new Map<number, Node>();
  const gone = new Set<number>();
  for (const { sharing, steps } of groupsOf(nodes)) {
    if (steps.length < 2) continue;
    for (const step of steps) gone.add(step);
    merged.set(steps.at(sharing.place === "first" ? 0 : -1)!, sharing.merged(steps.map((at) => nodes[at])));
  }
  return nodes.flatMap((node, step) => merged.get(step) ?? (gone.has(step) ? [] : [node]));
}

function groupsOf(nodes: readonly Node[]): Group[] {
  const madeAt = new Map<Tensor, number>();
  const firstReadAt = new Map<Tensor, number>();
  nodes.forEach(({ inputs, outputs }, step) => {
    for (const tensor of outputs) madeAt.set(tensor, step);
    for (const tensor of inputs) if (!firstReadAt.has(tensor)) firstReadAt.set(tensor, step);
  });
  /** Whether the node at `step` can be computed where the group is computed. */
  const canJoin = ({ sharing: { place }, steps }: Group, step: number) =>
    place === "first"
      ? nodes[step].inputs.every((tensor) => (madeAt.get(tensor) ?? -1) < steps[0])
      : steps.every((own) => (firstReadAt.get(nodes[own].outputs[0]) ?? Infinity) > step);
  const groups: Group[] = [];
  nodes.forEach((node, step) => {
    const sharing = sharingOf(node);
    if (!sharing) return;
    const group = groups.findLast((other) =>
      other.sharing.x === sharing.x && other.sharing.form === sharing.form
    );
    // A product that is recomputed for the backward pass starts a new group.
    const isNew = group?.steps.every((own) => !isSame(nodes[own], node));
    if (!group || !isNew || group.steps.length >= sharing.most || !canJoin(group, step)) {
      groups.push({ sharing, steps: [step] });
      return;
    }
    group.steps.push(step);
    // Now made here, all of them: too late for a node that would be computed with an earlier group.
    if (sharing.place !== "last") return;
    for (const own of group.steps) madeAt.set(nodes[own].outputs[0], step);
  });
  return groups;
}

function isSame({ inputs }: Node, other: Node): boolean {
  return inputs.every((tensor, i) => tensor === other.inputs[i]);
}
