/** Merges nodes that one kernel computes as well as two, before buffers are planned. The graph itself is left as it was traced. */

import type { Node, Tensor } from "./graph.ts";
import { adaptedProduct } from "./ops/adapted_product.ts";

/**
 * `nodes`, in an order they can run in, with each product of low rank that is added to another product made one node with it, where
 * nothing else reads the other and it is none of `kept`.
 */
export function fuse(nodes: readonly Node[], kept: ReadonlySet<Tensor>): Node[] {
  const readers = new Map<Tensor, number>();
  for (const tensor of nodes.flatMap(({ inputs }) => inputs)) {
    readers.set(tensor, (readers.get(tensor) ?? 0) + 1);
  }
  const merged = new Map<Node, Node>();
  const gone = new Set<Node>();
  for (const node of nodes) {
    const onto = node.inputs.at(-1)!;
    if (
      !onto || onto.node.op === undefined || readers.get(onto) !== 1 || kept.has(onto) ||
      merged.has(onto.node)
    ) {
      continue;
    }
    const both = adaptedProduct(onto.node, node);
    if (!both) continue;
    merged.set(node, both);
    gone.add(onto.node);
  }
  return nodes.filter((node) => !gone.has(node)).map((node) => merged.get(node) ?? node);
}
