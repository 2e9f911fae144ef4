/**
 * A product and the GELU of it in one kernel: z = A·op(B) + bias and y = gelu(z), or only y where nothing
 * else reads z, as in inference. Models do not trace this op; `fuse` creates it from the two ops.
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

/** One node that replaces both; undefined if no kernel computes both. `keepsProduct`: z is read elsewhere. */
export function productGelu(product: Node, activation: Node, keepsProduct: boolean): Node<Attrs> | undefined {
  if (product.op !== matmulOp || activation.op !== activationOp || activation.attrs !== "gelu") {
    return undefined;
  }
  const { blocks, transposeA, transposeB, activation: own, hasResidual } = product.attrs as MatmulAttrs;
  // NT is never split along k, so its launch has the whole sum.
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
