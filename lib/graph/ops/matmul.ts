/** Matrix products, plain or block by block, with the epilogues that follow them: scale, bias, activation, residual. */

import type { DeviceTraits } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Node, type Op, sizeOf, type Spec, type Tensor } from "../graph.ts";
import { fitsPanels } from "../panels.ts";
import { columnSum } from "./column_sum.ts";
import { activationGradient } from "./activation.ts";
import { productDispatches, productVariants } from "./product_launches.ts";
import { extents, type FusedActivation, layoutOf, type MatmulAttrs, type Split } from "./product.ts";

/** Options of `matmul`. */
export interface MatmulOptions {
  /** A is stored [k, m]. */
  readonly transposeA?: boolean;
  /** B is stored [n, k]. */
  readonly transposeB?: boolean;
  /**
   * Number of blocks that a, b and the output are cut into, to be multiplied block by block; 1 by default.
   */
  readonly blocks?: number;
  /** How a, b and the output are cut into those blocks. */
  readonly splits?: { readonly a: Split; readonly b: Split; readonly out: Split };
  /** Multiplies the product; 1 by default. */
  readonly scale?: number;
  /** One value per column of the output. */
  readonly bias?: Tensor;
  /** Applied after scale and bias. */
  readonly activation?: FusedActivation;
  /** Added last; shaped like the output. */
  readonly residual?: Tensor;
}

const whole = { a: "columns", b: "columns", out: "columns" } as const;

/**
 * `activation(scale · op(a)·op(b) + bias) + residual` for row-major matrices, where op transposes if the
 * options say so. With `blocks = b`, these are b independent products of the blocks of a and b, written to
 * the blocks of the output. BoRA's U_k = x_k A_kᵀ is
 * `{ transposeB, blocks, splits: { a: "columns", b: "columns", out: "columns" } }`.
 * @throws Error naming both shapes when they do not fit, or the number of blocks when it does not divide
 * them.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const attrs: MatmulAttrs = {
    transposeA: options.transposeA ?? false,
    transposeB: options.transposeB ?? false,
    blocks: options.blocks ?? 1,
    splits: options.splits ?? whole,
    scale: options.scale ?? 1,
    activation: options.activation,
    hasBias: options.bias !== undefined,
    hasResidual: options.residual !== undefined,
  };
  const inputs = [a, b, options.bias, options.residual].filter((tensor) => tensor !== undefined);
  return a.node.graph.apply(matmulOp, inputs, attrs)[0];
}

/** `y = x Wᵀ + bias`, for W of m outputs × n inputs. */
export function linear(x: Tensor, weight: Tensor, options: Omit<MatmulOptions, "transposeB"> = {}): Tensor {
  return matmul(x, weight, { ...options, transposeB: true });
}

function infer(inputs: readonly Spec[], attrs: MatmulAttrs): readonly Spec[] {
  const { m, n } = extents(inputs, attrs);
  const isAsPanelsWant = attrs.blocks === 1 && !attrs.transposeA && fitsPanels(inputs[1].shape);
  if (inputs[1].dtype === "f32 in panels" && !isAsPanelsWant) {
    throw new Error(
      `${describe(inputs[1])}: wants one block, A not transposed, and a shape that fits panels`,
    );
  }
  const out: Spec = {
    shape: attrs.splits.out === "rows" ? [m * attrs.blocks, n] : [m, n * attrs.blocks],
    dtype: "f32",
  };
  if (attrs.hasBias && sizeOf(inputs[2]) !== out.shape[1]) {
    throw new Error(`bias ${describe(inputs[2])} does not fit the output ${describe(out)}`);
  }
  if (attrs.hasResidual && inputs.at(-1)!.shape.join() !== out.shape.join()) {
    throw new Error(`residual ${describe(inputs.at(-1)!)} does not fit the output ${describe(out)}`);
  }
  return [out];
}

/** Gradients of C = s·op(A)op(B), through bias and activation. Each gradient is split as its tensor is. */
function derivative(
  node: Node<MatmulAttrs>,
  [gradient]: readonly (Tensor | undefined)[],
): (Tensor | undefined)[] {
  const { transposeA, transposeB, blocks, splits, scale, activation, hasBias, hasResidual } = node.attrs;
  const [a, b] = node.inputs;
  if (activation && hasResidual) {
    throw new Error("an activation under a residual has no derivative rule here");
  }
  if (transposeA && transposeB) throw new Error("Aᵀ·Bᵀ has no derivative rule here");
  const dC = activation ? activationGradient(activation, node.outputs[0], gradient!) : gradient!;
  const dA = transposeA
    ? matmul(b, dC, {
      transposeB: true,
      blocks,
      scale,
      splits: { a: splits.b, b: splits.out, out: splits.a },
    })
    : matmul(dC, b, {
      transposeB: !transposeB,
      blocks,
      scale,
      splits: { a: splits.out, b: splits.b, out: splits.a },
    });
  const dB = transposeB
    ? matmul(dC, a, {
      transposeA: true,
      blocks,
      scale,
      splits: { a: splits.out, b: splits.a, out: splits.b },
    })
    : matmul(a, dC, {
      transposeA: !transposeA,
      blocks,
      scale,
      splits: { a: splits.a, b: splits.out, out: splits.b },
    });
  return [dA, dB, ...(hasBias ? [columnSum(dC)] : []), ...(hasResidual ? [gradient] : [])];
}

function accumulate(product: Tensor, onto: Tensor): Tensor | undefined {
  const { attrs, inputs } = product.node as Node<MatmulAttrs>;
  if (attrs.hasResidual || attrs.activation) return undefined;
  const { hasBias, hasResidual: _, ...options } = attrs;
  return matmul(inputs[0], inputs[1], { ...options, bias: hasBias ? inputs[2] : undefined, residual: onto });
}

function evaluate(inputs: readonly Float64Array[], node: Node<MatmulAttrs>): readonly Float64Array[] {
  const { attrs } = node;
  const { m, n, k } = extents(node.inputs, attrs);
  const [la, lb] = [
    layoutOf(node.inputs[0], attrs.blocks, attrs.splits.a),
    layoutOf(node.inputs[1], attrs.blocks, attrs.splits.b),
  ];
  const lc = layoutOf(node.outputs[0], attrs.blocks, attrs.splits.out);
  const out = new Float64Array(sizeOf(node.outputs[0]));
  const residual = attrs.hasResidual ? inputs.at(-1)! : undefined;
  for (let z = 0; z < attrs.blocks; z++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let l = 0; l < k; l++) {
          const [ai, aj] = attrs.transposeA ? [l, i] : [i, l];
          const [bi, bj] = attrs.transposeB ? [j, l] : [l, j];
          sum += inputs[0][z * la.stride + ai * la.lead + aj] * inputs[1][z * lb.stride + bi * lb.lead + bj];
        }
        const at = z * lc.stride + i * lc.lead + j;
        sum *= attrs.scale;
        if (attrs.hasBias) sum += inputs[2][at % lc.lead];
        if (attrs.activation === "relu") sum = Math.max(sum, 0);
        if (attrs.activation === "tanh") sum = Math.tanh(sum);
        out[at] = sum + (residual ? residual[at] : 0);
      }
    }
  }
  return [out];
}

function dispatches(
  { attrs, inputs, outputs }: Node<MatmulAttrs>,
  inPlace: boolean,
  device: DeviceTraits,
): readonly Dispatch[] {
  const extra = {
    ...(attrs.hasBias ? { bias: inputs[2] } : {}),
    ...(attrs.hasResidual && !inPlace ? { residual: inputs.at(-1)! } : {}),
  };
  return productDispatches(attrs, inputs, outputs[0], extra, inPlace, device);
}

/** The op of `matmul`. */
export const matmulOp: Op<MatmulAttrs> = {
  name: "matmul",
  panelInput: 1,
  infer,
  derivative,
  accumulate,
  evaluate,
  dispatches,
  variants: ({ attrs, inputs, outputs }, device) => productVariants(attrs, inputs, outputs[0], device),
  inPlaceInput: (node) => node.attrs.hasResidual ? node.inputs.length - 1 : -1,
};
