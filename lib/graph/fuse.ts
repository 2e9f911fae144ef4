/** Merges nodes that one kernel computes as well as two, before buffers are planned. The graph itself is left as it was traced. */

import type { Node, Tensor } from "./graph.ts";
import { adaptedProduct } from "./ops/adapted_product.ts";
import { productGelu } from "./ops/product_gelu.ts";
import { productSlope } from "./ops/product_slope.ts";

/** Two nodes made one, which takes the place of `at`. */
interface Merger {
  readonly both: Node;
  readonly at: Node;
  readonly gone: Node;
}

/**
 * `nodes`, in an order they can run in, with these pairs made one: a product and GELU of it; and, where nothing else reads the first
 * and it is none of `kept`, a product and one of low rank that is added to it, or a product and the activation's derivative that
 * multiplies it.
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
    if (!merger || merged.has(merger.gone) || gone.has(merger.at)) continue;
    merged.set(merger.at, merger.both);
    gone.add(merger.gone);
  }
  return nodes.filter((node) => !gone.has(node)).map((node) => merged.get(node) ?? node);
}

/** The merger of a node with the one that computes what it is applied to. */
function mergerOf(node: Node, isReadOnce: (tensor: Tensor) => boolean): Merger | undefined {
  const onto = node.inputs.at(-1);
  if (!onto?.node.op) return undefined;
  const activated = productGelu(onto.node, node, !isReadOnce(onto));
  if (activated) return { both: activated, at: onto.node, gone: node };
  if (!isReadOnce(onto)) return undefined;
  const both = adaptedProduct(onto.node, node) ?? productSlope(onto.node, node);
  return both && { both, at: node, gone: onto.node };
}
