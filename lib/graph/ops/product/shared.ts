/**
 * Two or three products that share one operand, in one kernel that reads it once: U_p = x A_pᵀ of the
 * adapters on a layer's queries, keys and values, and their dA_p = dU_pᵀ x. Models do not trace this op;
 * `fuseShared` creates it.
 */

import type { DeviceTraits } from "../../../gpu/kernel.ts";
import type { Choice, Dispatch, Node, Op, Tensor, Variants } from "../../graph.ts";
import { extents } from "./blocks.ts";
import { isAlone } from "./choice.ts";
import { isPlain } from "./epilogue.ts";
import { few, problemOf } from "./problem.ts";
import { type ProductNode, productOp } from "./product.ts";
import { gradientLaunches, lanesLaunch, projectionLaunch } from "./shared_launches.ts";
import { fewTogether, formOfFew, mostOfFew } from "./together.ts";

/** A fourth product would need more than the eight storage buffers that every device has. */
const mostProducts = 3;

/** The properties in which products must agree to be computed together. */
export interface Sharing {
  /** The operand that all of them read. */
  readonly x: Tensor;
  /** Layout and extents. */
  readonly form: string;
  /**
   * Whose place the merged node takes. Projections: that of the first, as the A of the others already exists.
   * Gradients: that of the last, when every dU exists. In both cases the last reader of x stays where it was.
   */
  readonly place: "first" | "last";
  /** The most products that one node can have. */
  readonly most: number;
  /** The node that replaces them. */
  readonly merged: (products: readonly ProductNode[]) => Node;
}

/** How `node` can be computed together with others; undefined if no kernel can. */
export function sharingOf(node: Node): Sharing | undefined {
  if (node.op !== productOp) return undefined;
  const ofFew = formOfFew(node);
  if (ofFew) {
    return { x: node.inputs[0], form: ofFew, place: "first", most: mostOfFew(node), merged: fewTogether };
  }
  const { attrs }: ProductNode = node;
  const { transposeA, transposeB, blocks, splits, epilogue } = attrs;
  const inColumns = [splits.a, splits.b, splits.out].every((split) => blocks === 1 || split === "columns");
  const isFloat = node.inputs.every(({ dtype }) => dtype === "f32");
  if (!isPlain(epilogue) || !inColumns || !isFloat || transposeA === transposeB) return undefined;
  const { m, n, k } = extents(node.inputs, attrs);
  const own = { most: mostProducts, merged: sharedProducts };
  if (transposeB) {
    const fits = n <= few && k % 4 === 0;
    return fits
      ? { ...own, x: node.inputs[0], form: `NT ${n}, ${blocks} blocks`, place: "first" }
      : undefined;
  }
  const fits = m <= few && m % 4 === 0 && n % 4 === 0;
  return fits ? { ...own, x: node.inputs[1], form: `TN ${m}, ${blocks} blocks`, place: "last" } : undefined;
}

interface Attrs {
  readonly products: readonly ProductNode[];
}

/** One node that replaces products of the same `Sharing`, with the outputs of all. */
function sharedProducts(products: readonly ProductNode[]): Node<Attrs> {
  return {
    ...products[0],
    op: sharedProductsOp,
    name: products.map(({ name }) => name).join(" + "),
    inputs: [...new Set(products.flatMap(({ inputs }) => inputs))],
    outputs: products.flatMap(({ outputs }) => outputs),
    attrs: { products },
  };
}

/** The launches of all products at once; undefined where the device sums each in an order that no kernel for all has. */
function togetherOn({ attrs: { products } }: Node<Attrs>, device: DeviceTraits): Dispatch[] | undefined {
  const [{ attrs, inputs, outputs }] = products;
  const hasOwnOrder = isAlone(problemOf(inputs, outputs[0], attrs), device);
  if (attrs.transposeB) return [hasOwnOrder ? lanesLaunch(products) : projectionLaunch(products, device)];
  return hasOwnOrder ? undefined : gradientLaunches(products, device);
}

function apartOn({ attrs: { products } }: Node<Attrs>, device: DeviceTraits): Dispatch[] {
  return products.flatMap((product) => [...productOp.dispatches(product, false, device)]);
}

/** The key of the choice: the number of products, and what one product is chosen by. */
function bucketOf({ attrs: { products } }: Node<Attrs>, device: DeviceTraits): string {
  return `${products.length} of one operand, ${productOp.variants!(products[0], device).bucket}`;
}

function tunedApart(node: Node<Attrs>, device: DeviceTraits): boolean {
  return device.choices?.get(bucketOf(node, device)) === "apart";
}

function variants(node: Node<Attrs>, device: DeviceTraits): Variants {
  const { attrs: { products } } = node;
  const together = togetherOn(node, device);
  const one = productOp.variants!(products[0], device);
  const choice = (): Pick<Choice, "kernel" | "why" | "insteadOf"> => {
    if (!together) return { ...one.choice(), kernel: `apart, ${one.choice().kernel}`, insteadOf: [] };
    return tunedApart(node, device)
      ? { kernel: "apart", why: `tuned for ${bucketOf(node, device)}`, insteadOf: ["together"] }
      : { kernel: "together", why: "default: the shared operand is read once", insteadOf: ["apart"] };
  };
  return {
    bucket: bucketOf(node, device),
    candidates: [
      ...together ? [{ name: "together", kernel: together[0].kernel }] : [],
      { name: "apart", kernel: apartOn(node, device)[0].kernel },
    ],
    choice: () => ({ ...choice(), problem: `${products.length} × ${one.choice().problem}` }),
    multiplyAdds: products.length * one.multiplyAdds,
  };
}

const sharedProductsOp: Op<Attrs> = {
  name: "sharedProducts",
  infer: (_, { products }) => products.flatMap(({ outputs }) => outputs),
  evaluate(inputs, { inputs: tensors, attrs: { products } }) {
    const values = new Map(tensors.map((tensor, i) => [tensor, inputs[i]]));
    return products.flatMap((product) =>
      productOp.evaluate(product.inputs.map((tensor) => values.get(tensor)!), product)
    );
  },
  dispatches(node, _, device) {
    return tunedApart(node, device)
      ? apartOn(node, device)
      : togetherOn(node, device) ?? apartOn(node, device);
  },
  scratch({ attrs: { products } }, device) {
    return products.flatMap((product) => productOp.scratch!(product, device));
  },
  variants,
};
