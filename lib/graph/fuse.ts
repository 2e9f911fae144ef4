/**
 * Merges pairs of nodes that one kernel can compute, before buffers are planned. The traced graph is not
 * changed.
 */

import type { Node, Tensor } from "./graph.ts";
import { adaptedProduct } from "./ops/adapted_product.ts";
import { productGelu } from "./ops/product_gelu.ts";
import { productSlope } from "./ops/product_slope.ts";

/** Two nodes merged into `both`, which replaces `at`; `gone` is removed. */
interface Merger {
  readonly both: Node;
  readonly at: Node;
  readonly gone: Node;
}

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
    if (!merger || merged.has(merger.gone) || gone.has(merger.at)) continue;
    merged.set(merger.at, merger.both);
    gone.add(merger.gone);
  }
  return nodes.filter((node) => !gone.has(node)).map((node) => merged.get(node) ?? node);
}

/** The merger of `node` with the node that computes its last input, if one kernel can compute both. */
function mergerOf(node: Node, isReadOnce: (tensor: Tensor) => boolean): Merger | undefined {
  const onto = node.inputs.at(-1);
  if (!onto?.node.op) return undefined;
  const activated = productGelu(onto.node, node, !isReadOnce(onto));
  if (activated) return { both: activated, at: onto.node, gone: node };
  if (!isReadOnce(onto)) return undefined;
  const both = adaptedProduct(onto.node, node) ?? productSlope(onto.node, node);
  return both && { both, at: node, gone: onto.node };
}
