/**
 * Merges pairs of nodes that one kernel can compute, before buffers are planned. The traced graph is not
 * changed.
 */

import type { Node, Tensor } from "./graph.ts";
import { mergerOf } from "./ops/product/merge.ts";

/**
 * Returns `nodes` in an executable order, with these pairs merged:
 * - a product and the GELU of it;
 * - a product and a low-rank product that is added to it;
 * - a product and the activation derivative that multiplies it.
 * The last two are merged only where nothing else reads the first product and it is not in `kept`.
 */
export function fuse(nodes: readonly Node[], kept: ReadonlySet<Tensor>): Node[] {
  const readers = new Map<Tensor, number>();
  for (const tensor of nodes.flatMap(({ inputs }) => inputs)) {
    readers.set(tensor, (readers.get(tensor) ?? 0) + 1);
  }
  const isReadOnce = (tensor: Tensor) => readers.get(tensor) === 1 && !kept.has(tensor);
  const merged = new Map<Node, Node>();
  const gone = new Set<Node>();
  for (const node of nodes) {
    const merger = mergerOf(node, isReadOnce);
    if (!merger || merged.has(merger.gone) || merged.has(merger.at) || gone.has(merger.at)) continue;
    merged.set(merger.at, merger.both);
    gone.add(merger.gone);
  }
  return nodes.filter((node) => !gone.has(node)).map((node) => merged.get(node) ?? node);
}
