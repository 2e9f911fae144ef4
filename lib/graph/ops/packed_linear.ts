/** A linear layer whose frozen weight is stored in fewer bits and unpacked inside the product. */

import type { DeviceTraits } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Node, type Op, sizeOf, type Spec, type Tensor } from "../graph.ts";
import { columnSum } from "./column_sum.ts";
import { productDispatches, productVariants } from "./product_launches.ts";
import type { MatmulAttrs } from "./product.ts";

/** Number of values, contiguous in memory, that share a scale. */
export const groupSize = 64;

/** A packed weight [m, n]: f16, or int8 or int4 with one scale per `groupSize` values. */
export interface PackedTensor {
  readonly values: Tensor;
  readonly scales?: Tensor;
}

interface Attrs {
  /** Computes dY·W, the gradient of the input, instead of x·Wᵀ. */
  readonly gradient: boolean;
  readonly hasScales: boolean;
  readonly hasBias: boolean;
  readonly hasResidual: boolean;
}

/**
 * `y = x Wᵀ + bias + residual` for a packed W [m, n], both multiples of 4. x, bias and residual have
 * gradients, W has none.
 */
export function packedLinear(
  x: Tensor,
  { values, scales }: PackedTensor,
  { bias, residual }: { readonly bias?: Tensor; readonly residual?: Tensor } = {},
): Tensor {
  const inputs = [x, values, scales, bias, residual].filter((tensor) => tensor !== undefined);
  return x.node.graph.apply(packedLinearOp, inputs, {
    gradient: false,
    hasScales: scales !== undefined,
    hasBias: bias !== undefined,
    hasResidual: residual !== undefined,
  })[0];
}

/** The inputs by name. */
function named<T>(inputs: readonly T[], { hasScales, hasBias, hasResidual }: Attrs) {
  const rest = inputs.slice(2);
  return {
    x: inputs[0],
    values: inputs[1],
    scales: hasScales ? rest.shift() : undefined,
    bias: hasBias ? rest.shift() : undefined,
    residual: hasResidual ? rest.shift() : undefined,
  };
}

function infer(inputs: readonly Spec[], attrs: Attrs): readonly Spec[] {
  const { x, values, scales, bias, residual } = named(inputs, attrs);
  const [m, n] = values.shape;
  const [inner, outer] = attrs.gradient ? [m, n] : [n, m];
  if (values.shape.length !== 2 || m % 4 + n % 4 !== 0) {
    throw new Error(`${describe(values)} is no matrix of multiples of 4`);
  }
  if (x.shape[1] !== inner) {
    throw new Error(`${describe(x)} does not fit the packed weight ${describe(values)}`);
  }
  const wanted = values.dtype === "f16" ? 0 : sizeOf(values) / groupSize;
  if ((scales ? sizeOf(scales) : 0) !== wanted) {
    throw new Error(`${describe(values)} wants ${wanted} scales, one for each ${groupSize} values`);
  }
  const out: Spec = { shape: [x.shape[0], outer], dtype: "f32" };
  if (bias && sizeOf(bias) !== outer) throw new Error(`bias ${describe(bias)} does not fit ${describe(out)}`);
  if (residual && residual.shape.join() !== out.shape.join()) {
    throw new Error(`residual ${describe(residual)} does not fit ${describe(out)}`);
  }
  return [out];
}

/** dx = dY·W; W itself is frozen. */
function derivative({ inputs, attrs, graph }: Node<Attrs>, [gradient]: readonly (Tensor | undefined)[]) {
  const { values, scales } = named(inputs, attrs);
  const operands = [gradient!, values, scales].filter((tensor) => tensor !== undefined);
  const plain = { ...attrs, gradient: true, hasBias: false, hasResidual: false };
  return [
    graph.apply(packedLinearOp, operands, plain)[0],
    undefined,
    ...(attrs.hasScales ? [undefined] : []),
    ...(attrs.hasBias ? [columnSum(gradient!)] : []),
    ...(attrs.hasResidual ? [gradient] : []),
  ];
}

function evaluate(inputs: readonly Float64Array[], { inputs: specs, attrs, outputs }: Node<Attrs>) {
  const { x, values, scales, bias, residual } = named(inputs, attrs);
  const [m, n] = specs[1].shape;
  const W = scales ? values.map((value, i) => value * scales[Math.floor(i / groupSize)]) : values;
  const [rows, columns] = outputs[0].shape;
  return [
    Float64Array.from({ length: rows * columns }, (_, at) => {
      const [row, column] = [Math.floor(at / columns), at % columns];
      let sum = (bias ? bias[column] : 0) + (residual ? residual[at] : 0);
      if (attrs.gradient) { for (let i = 0; i < m; i++) sum += x[row * m + i] * W[i * n + column]; }
      else for (let j = 0; j < n; j++) sum += x[row * n + j] * W[column * n + j];
      return sum;
    }),
  ];
}

function productOf({ gradient, hasBias, hasResidual }: Attrs): MatmulAttrs {
  return {
    transposeA: false,
    transposeB: !gradient,
    blocks: 1,
    splits: { a: "columns", b: "columns", out: "columns" },
    scale: 1,
    activation: undefined,
    hasBias,
    hasResidual,
  };
}

function dispatches(
  { inputs, outputs, attrs }: Node<Attrs>,
  inPlace: boolean,
  device: DeviceTraits,
): Dispatch[] {
  const { x, values, scales, bias, residual } = named(inputs, attrs);
  const extra = {
    ...(scales ? { scales } : {}),
    ...(bias ? { bias } : {}),
    ...(residual && !inPlace ? { residual } : {}),
  };
  return productDispatches(productOf(attrs), [x, values], outputs[0], extra, inPlace, device);
}

const packedLinearOp: Op<Attrs> = {
  name: "packedLinear",
  infer,
  derivative,
  evaluate,
  dispatches,
  variants: ({ attrs, inputs, outputs }, device) =>
    productVariants(productOf(attrs), inputs, outputs[0], device),
  inPlaceInput: ({ inputs, attrs }) => attrs.hasResidual ? inputs.length - 1 : -1,
};
