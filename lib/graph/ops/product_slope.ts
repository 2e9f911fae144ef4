/**
 * A product times an activation's derivative in one kernel: dz = (G·op(B)) ⊙ f′, a layer's gradient passed
 * back through the activation below it. Models do not trace this op; `fuse` creates it from the two ops.
 */

import type { Node, Op, Tensor } from "../graph.ts";
import { type Activation, activationGradientOp } from "./activation.ts";
import { matmulOp } from "./matmul.ts";
import type { MatmulAttrs } from "./product.ts";
import { mayBeCut } from "./product_choice.ts";
import { productDispatches, productVariants } from "./product_launches.ts";
import { problemOf } from "./product_problem.ts";

interface Attrs {
  readonly product: Node<MatmulAttrs>;
  readonly gradient: Node<Activation>;
}

/**
 * One node that replaces both, where only `gradient` reads `product`; undefined if no kernel computes both.
 */
export function productSlope(product: Node, gradient: Node): Node<Attrs> | undefined {
  if (product.op !== matmulOp || gradient.op !== activationGradientOp) return undefined;
  const [value, read] = gradient.inputs;
  if (read.node !== product || value.node === product) return undefined;
  const attrs: MatmulAttrs = product.attrs;
  if (attrs.blocks > 1 || attrs.transposeA || attrs.activation || attrs.hasResidual) return undefined;
  if (mayBeCut(attrs, problemOf(product.inputs, product.outputs[0], attrs))) return undefined;
  return {
    ...gradient,
    op: productSlopeOp,
    name: product.name,
    inputs: [...product.inputs, value],
    attrs: { product, gradient },
  };
}

const productSlopeOp: Op<Attrs> = {
  name: "productSlope",
  infer: (_, { gradient }) => gradient.outputs,
  evaluate(inputs, { attrs: { product, gradient } }) {
    const [dC] = matmulOp.evaluate(inputs.slice(0, -1), product);
    return activationGradientOp.evaluate([inputs.at(-1)!, dC], gradient);
  },
  dispatches({ attrs: { product, gradient }, inputs, outputs: [out] }, _, device) {
    const { attrs } = product;
    const extra: Record<string, Tensor> = attrs.hasBias ? { bias: inputs[2] } : {};
    const slope = { of: gradient.attrs, at: inputs.at(-1)! };
    return productDispatches(attrs, inputs, out, extra, false, device, { slope });
  },
  variants: ({ attrs: { product }, outputs: [out] }, device) =>
    productVariants(product.attrs, product.inputs, out, device),
};
