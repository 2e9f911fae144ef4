/**
 * A product and GELU of it in one kernel: z = A·op(B) + bias and y = gelu(z), or y alone where nothing else reads z, as in inference.
 * No model traces it; `fuse` makes it of the two ops.
 */

import type { Node, Op, Tensor } from "../graph.ts";
import { type Activation, activationOp } from "./activation.ts";
import { matmulOp } from "./matmul.ts";
import { productDispatches, productVariants } from "./product_launches.ts";
import type { MatmulAttrs } from "./product.ts";

interface Attrs {
  readonly product: Node<MatmulAttrs>;
  readonly activation: Node<Activation>;
}

/** One node in place of the two; undefined where no kernel computes both. `keepsProduct`: z is read elsewhere. */
export function productGelu(product: Node, activation: Node, keepsProduct: boolean): Node<Attrs> | undefined {
  if (product.op !== matmulOp || activation.op !== activationOp || activation.attrs !== "gelu") {
    return undefined;
  }
  const { blocks, transposeA, transposeB, activation: own, hasResidual } = product.attrs as MatmulAttrs;
  // Of NT every launch walks all of k, and so has the whole sum.
  if (blocks > 1 || transposeA || !transposeB || own || hasResidual) return undefined;
  const outputs: Tensor[] = [...keepsProduct ? product.outputs : [], ...activation.outputs];
  return { ...product, op: productGeluOp, outputs, attrs: { product, activation } };
}

const productGeluOp: Op<Attrs> = {
  name: "productGelu",
  infer: (_, { product, activation }) => [...product.outputs, ...activation.outputs],
  evaluate(inputs, { outputs, attrs: { product, activation } }) {
    const z = matmulOp.evaluate(inputs, product);
    return [...z, ...activationOp.evaluate(z, activation)].slice(-outputs.length);
  },
  dispatches({ attrs: { product }, outputs }, _, device) {
    const { inputs, attrs } = product;
    const extra: Record<string, Tensor> = attrs.hasBias ? { bias: inputs[2] } : {};
    const [, y] = outputs;
    return productDispatches(attrs, inputs, outputs[0], extra, false, device, { gelu: y ?? "alone" });
  },
  variants: ({ attrs: { product }, outputs: [out] }, device) =>
    productVariants(product.attrs, product.inputs, out, device),
};
