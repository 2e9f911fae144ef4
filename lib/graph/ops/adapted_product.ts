/**
 * A product with an adapter's product added in the same kernel: scale·A·op(B) + bias + residual + s·V L.
 * Models do not trace this op; `fuse` creates it from two products of which one is added to the other.
 */

import type { Node, Op } from "../graph.ts";
import { productDispatches, productVariants } from "./product_launches.ts";
import { matmulOp } from "./matmul.ts";
import type { LowRankTerm, MatmulAttrs } from "./product.ts";

/** The two products. */
interface Attrs {
  readonly base: Node<MatmulAttrs>;
  /** The low-rank product, whose residual is `base`'s output. */
  readonly term: Node<MatmulAttrs>;
}

/**
 * The highest rank for which fusing pays. Above it, loading a tile's rows of V, which its lanes do not share,
 * costs more than writing and reading C once more.
 */
const mostRank = 16;

/** `term` in the form in which the kernels add it to `base`'s product; undefined if they cannot. */
function termOf({ base, term }: Attrs): LowRankTerm | undefined {
  const { transposeA, transposeB, blocks, splits, scale, activation, hasBias } = term.attrs;
  const [v, low] = term.inputs;
  const [m, n] = term.outputs[0].shape;
  const rank = v.shape[1] / blocks;
  const lowSplit = transposeB ? "rows" : "columns";
  const isTerm = !transposeA && !activation && !hasBias &&
    (blocks === 1 || (splits.a === "columns" && splits.out === "columns" && splits.b === lowSplit));
  const fits = rank % 4 === 0 && rank <= mostRank && n / blocks % 16 === 0 && n > 16 && m >= 32;
  const isPlain = base.attrs.blocks === 1 && !base.attrs.transposeA && !base.attrs.activation &&
    base.attrs.scale === 1;
  return isTerm && fits && isPlain ? { v, low, transposed: transposeB, blocks, scale } : undefined;
}

/** One node that replaces both, with `term`'s output; undefined if no kernel computes both. */
export function adaptedProduct(base: Node, term: Node): Node<Attrs> | undefined {
  if (base.op !== matmulOp || term.op !== matmulOp || !term.attrs.hasResidual) return undefined;
  if (termOf({ base, term }) === undefined) return undefined;
  return {
    ...term,
    op: adaptedProductOp,
    name: base.name,
    inputs: [...base.inputs, ...term.inputs.slice(0, 2)],
    attrs: { base, term },
  };
}

const adaptedProductOp: Op<Attrs> = {
  name: "adaptedProduct",
  infer: (_, { term }) => term.outputs,
  evaluate(inputs, { attrs: { base, term } }) {
    const own = inputs.slice(0, base.inputs.length);
    const [sum] = matmulOp.evaluate(own, base);
    return matmulOp.evaluate([...inputs.slice(own.length), sum], term);
  },
  dispatches({ attrs, outputs: [out] }, inPlace, device) {
    const { inputs, attrs: product } = attrs.base;
    const extra = {
      ...(product.hasBias ? { bias: inputs[2] } : {}),
      ...(product.hasResidual && !inPlace ? { residual: inputs.at(-1)! } : {}),
    };
    return productDispatches(product, inputs, out, extra, inPlace, device, { term: termOf(attrs) });
  },
  variants: ({ attrs: { base }, outputs: [out] }, device) =>
    productVariants(base.attrs, base.inputs, out, device),
  inPlaceInput: ({ attrs: { base } }) => base.attrs.hasResidual ? base.inputs.length - 1 : -1,
};
