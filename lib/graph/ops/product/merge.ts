/** Merging into a product's epilogue what other nodes would do with its result, where one kernel can compute both. */

import type { Node, Tensor } from "../../graph.ts";
import { activationGradientOp, activationOp } from "../activation.ts";
import { mayBeCut } from "./choice.ts";
import type { LowRank } from "./epilogue.ts";
import { problemOf } from "./problem.ts";
import { changed, isOpen, type ProductNode, productOp } from "./product.ts";
import { gatedTogether } from "./together.ts";

/** Nodes merged into `all`, which replaces `at`; those of `gone` are removed. */
export interface Merger {
  readonly all: Node;
  readonly at: Node;
  readonly gone: readonly Node[];
}

/** The merger of `node` with products that compute what it reads, if one kernel can compute all. */
export function mergerOf(node: Node, isReadOnce: (tensor: Tensor) => boolean): Merger | undefined {
  const gated = gatedTogether(node, isReadOnce);
  return gated ? { all: gated, at: node, gone: gated.attrs.products } : mergerOfLast(node, isReadOnce);
}

/** The merger of `node` with the product that computes its last input. */
function mergerOfLast(node: Node, isReadOnce: (tensor: Tensor) => boolean): Merger | undefined {
  const onto = node.inputs.at(-1);
  if (!onto || !isOpen(onto.node)) return undefined;
  const product = onto.node;
  const activated = withGelu(product, node, !isReadOnce(onto));
  if (activated) return { all: activated, at: product, gone: [node] };
  if (!isReadOnce(onto)) return undefined;
  const both = withLowRank(product, node) ?? withSlope(product, node);
  return both && { all: both, at: node, gone: [product] };
}

/**
 * The product and the GELU of it: z and y = gelu(z), or only y where nothing else reads z, as in inference.
 */
function withGelu(product: ProductNode, activation: Node, keepsProduct: boolean): ProductNode | undefined {
  const { transposeB, epilogue } = product.attrs;
  // NT is never split along k, so its launch has the whole sum.
  if (activation.op !== activationOp || activation.attrs !== "gelu" || !transposeB) return undefined;
  if (epilogue.activation || epilogue.residual) return undefined;
  return {
    ...product,
    ...changed(product, { gelu: keepsProduct ? "beside" : "alone" }),
    outputs: [...keepsProduct ? product.outputs : [], ...activation.outputs],
  };
}

/** dz = (G·op(B)) ⊙ f′: a layer's gradient, passed back through the activation below it. */
function withSlope(product: ProductNode, gradient: Node): ProductNode | undefined {
  if (gradient.op !== activationGradientOp) return undefined;
  const [value, read] = gradient.inputs;
  if (read.node !== product || value.node === product) return undefined;
  const { epilogue } = product.attrs;
  if (epilogue.activation || epilogue.residual) return undefined;
  if (mayBeCut(problemOf(product.inputs, product.outputs[0], product.attrs))) return undefined;
  const own = changed(product, { slope: gradient.attrs }, { slope_at: value });
  return { ...gradient, op: productOp, name: product.name, ...own };
}

/** scale·A·op(B) + bias + residual + s·V L, of `base` and the product `term` = V L that is added to it. */
function withLowRank(base: ProductNode, term: Node): ProductNode | undefined {
  const { activation, scale } = base.attrs.epilogue;
  if (activation || scale !== 1 || term.op !== productOp) return undefined;
  const lowRank = lowRankOf(term);
  if (!lowRank) return undefined;
  const [v, low] = term.inputs;
  return { ...term, name: base.name, ...changed(base, { lowRank }, { v, low }) };
}

/**
 * The highest rank for which merging pays. Above it, loading a tile's rows of V, which its lanes do not share,
 * costs more than writing and reading C once more.
 */
const mostRank = 16;

/** A product as the low-rank part of another's epilogue; undefined if the kernels cannot add it. */
function lowRankOf({ attrs, inputs: [v, low], outputs: [out] }: ProductNode): LowRank | undefined {
  const { transposeA, transposeB, blocks, splits, epilogue } = attrs;
  const { scale, activation, bias, residual } = epilogue;
  const [m, n] = out.shape;
  const rank = v.shape[1] / blocks;
  const lowSplit = transposeB ? "rows" : "columns";
  const isTerm = residual && !transposeA && !activation && !bias && low.dtype === "f32" &&
    (blocks === 1 || (splits.a === "columns" && splits.out === "columns" && splits.b === lowSplit));
  const fits = rank % 4 === 0 && rank <= mostRank && n / blocks % 16 === 0 && n > 16 && m >= 32;
  return isTerm && fits ? { blocks, scale, transposed: transposeB } : undefined;
}
