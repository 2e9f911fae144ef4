/**
 * Merges nodes that one kernel can compute, before buffers are planned. The traced graph is not
 * changed.
 */

import type { Node, Tensor } from "./graph.ts";
import { mergerOf } from "./ops/product/merge.ts";

/**
 * Returns `nodes` in an executable order, with these merged:
 * - a product and the GELU of it;
 * - a product and a low-rank product that is added to it;
 * - a product and the activation derivative that multiplies it;
 * - a gated unit of a few rows and both its products.
 * The last three are merged only where nothing else reads the products and they are not in `kept`. Nothing is merged that would
 * read one tensor of `external` and write another: all of them may lie in one buffer.
 */
export function fuse(
  nodes: readonly Node[],
  kept: ReadonlySet<Tensor>,
  external: ReadonlySet<Tensor> = new Set(),
): Node[] {
  const readers = new Map<Tensor, number>();
  for (const tensor of nodes.flatMap(({ inputs }) => inputs)) {
    readers.set(tensor, (readers.get(tensor) ?? 0) + 1);
  }
  const isExternal = (tensor: Tensor) => external.has(tensor);
  const isReadOnce = (tensor: Tensor) => readers.get(tensor) === 1 && !kept.has(tensor);
  const merged = new Map<Node, Node>();
  const gone = new Set<Node>();
  for (const node of nodes) {
    const merger = mergerOf(node, isReadOnce);
    if (!merger || [merger.at, ...merger.gone].some((own) => merged.has(own)) || gone.has(merger.at)) {
      continue;
    }
    if (merger.all.inputs.some(isExternal) && merger.all.outputs.some(isExternal)) continue;
    merged.set(merger.at, merger.all);
    for (const own of merger.gone) gone.add(own);
  }
  return nodes.filter((node) => !gone.has(node)).map((node) => merged.get(node) ?? node);
}
