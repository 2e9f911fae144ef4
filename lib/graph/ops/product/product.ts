/**
 * Matrix products, plain or block by block, with the epilogue that follows them, and a B in any storage. Models trace
 * `linear` and `matmul`; `fuse` adds to a product's epilogue what other nodes would do with its result.
 */

import { describe, type Node, type Op, sizeOf, type Spec, type Tensor } from "../../graph.ts";
import { storageNamed } from "../../storages/registry.ts";
import { activate, activationGradient } from "../activation.ts";
import { add } from "../binary.ts";
import { columnSum } from "../column_sum.ts";
import { type Blocks, extents, layoutOf, type Split } from "./blocks.ts";
import {
  type Epilogue,
  finished,
  type FusedActivation,
  isLinear,
  type Operand,
  operandsOf,
  type Place,
} from "./epilogue.ts";
import { launchesOf, scratchOf, variantsOf } from "./launches.ts";

/** A product's blocks, and its epilogue. */
export interface ProductAttrs extends Blocks {
  readonly epilogue: Epilogue;
}

/** An application of `productOp`. */
export type ProductNode = Node<ProductAttrs>;

/** A stored matrix as a graph has it: its values, and its scales if the storage keeps them in a buffer of their own. */
export interface StoredTensor {
  /** The matrix. */
  readonly values: Tensor;
  /** f32, one for each `scaleEvery` values of the storage. */
  readonly scales?: Tensor;
}

/** Options of `matmul`. By default nothing is transposed, and there is one block. */
export interface MatmulOptions extends Partial<Blocks> {
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
 * Whether B is f32, in rows or panels. Products with another B take bias and residual into their kernels, and nothing
 * else.
 */
const isFloat = ({ dtype }: Spec) => dtype === "f32" || dtype === "f32 in panels";

/**
 * `activation(scale · op(a)·op(b) + bias) + residual` for row-major matrices, where op transposes if the
 * options say so. With `blocks = b`, these are b independent products of the blocks of a and b, written to
 * the blocks of the output. BoRA's U_k = x_k A_kᵀ is
 * `{ transposeB, blocks, splits: { a: "columns", b: "columns", out: "columns" } }`. A b that is not row-major f32 is
 * frozen: it has no gradient.
 * @throws Error naming both shapes when they do not fit, the number of blocks when it does not divide them, or what b's
 * storage wants; and where both are transposed.
 */
export function matmul(a: Tensor, b: Tensor | StoredTensor, options: MatmulOptions = {}): Tensor {
  const { transposeA = false, transposeB = false, blocks = 1, splits = whole, scale = 1 } = options;
  const { bias, activation, residual } = options;
  const { values, scales }: StoredTensor = "values" in b ? b : { values: b };
  if (activation && !isFloat(values)) {
    const y = activate(activation, matmul(a, b, { ...options, activation: undefined, residual: undefined }));
    return residual ? add(y, residual) : y;
  }
  const epilogue = { scale, bias: bias !== undefined, activation, residual: residual !== undefined };
  const inputs = [a, values, scales, bias, residual].filter((tensor) => tensor !== undefined);
  return a.node.graph.apply(productOp, inputs, { transposeA, transposeB, blocks, splits, epilogue })[0];
}

/** `y = x Wᵀ + bias`, for W of m outputs × n inputs. */
export function linear(
  x: Tensor,
  weight: Tensor | StoredTensor,
  options: Omit<MatmulOptions, "transposeB"> = {},
): Tensor {
  return matmul(x, weight, { ...options, transposeB: true });
}

/** Where each further operand is among the inputs, after a and b. */
function placesOf([, b]: readonly Spec[], { epilogue }: ProductAttrs): Map<Operand | "scales", number> {
  const own = storageNamed(b.dtype).scaleEvery ? ["scales" as const] : [];
  return new Map([...own, ...operandsOf(epilogue)].map((name, i) => [name, 2 + i]));
}

/** The tensors that a product reads besides a and b, by their names in WGSL. */
function operandTensors({ inputs, attrs }: ProductNode): Map<Operand | "scales", Tensor> {
  return new Map([...placesOf(inputs, attrs)].map(([name, at]) => [name, inputs[at]]));
}

/** Inputs and attributes of a product like `node`, with an epilogue that differs in `change` and reads `more`. */
export function changed(
  node: ProductNode,
  change: Partial<Epilogue>,
  more: Partial<Record<Operand, Tensor>> = {},
): Pick<ProductNode, "inputs" | "attrs"> {
  const epilogue = { ...node.attrs.epilogue, ...change };
  const known = operandTensors(node);
  const scales = known.get("scales");
  const operands = operandsOf(epilogue).map((name) => more[name] ?? known.get(name)!);
  return {
    inputs: [...node.inputs.slice(0, 2), ...scales ? [scales] : [], ...operands],
    attrs: { ...node.attrs, epilogue },
  };
}

function infer(inputs: readonly Spec[], attrs: ProductAttrs): readonly Spec[] {
  const { blocks, splits, epilogue, transposeA, transposeB } = attrs;
  if (transposeA && transposeB) {
    throw new Error("there is no kernel for Aᵀ·Bᵀ: transpose the product B·A (swapAxes)");
  }
  const { m, n } = extents(inputs, attrs);
  const places = placesOf(inputs, attrs);
  const given = (name: Operand | "scales") => places.has(name) ? inputs[places.get(name)!] : undefined;
  if (inputs.length !== 2 + places.size) {
    const { scaleEvery } = storageNamed(inputs[1].dtype);
    throw new Error(
      `${describe(inputs[1])} ${scaleEvery ? "wants scales" : "has no scales in a buffer of their own"}`,
    );
  }
  checkStorage(inputs[1], given("scales"), attrs);
  const out: Spec = { shape: splits.out === "rows" ? [m * blocks, n] : [m, n * blocks], dtype: "f32" };
  const [bias, residual] = [given("bias"), given("residual")];
  if (bias && sizeOf(bias) !== out.shape[1]) {
    throw new Error(`bias ${describe(bias)} does not fit the output ${describe(out)}`);
  }
  if (residual && residual.shape.join() !== out.shape.join()) {
    throw new Error(`residual ${describe(residual)} does not fit the output ${describe(out)}`);
  }
  return epilogue.gelu === "beside" ? [out, out] : [out];
}

/** Throws an Error where b cannot be read as its storage wants, or its scales do not fit. */
function checkStorage(b: Spec, scales: Spec | undefined, attrs: ProductAttrs): void {
  const { blocks, transposeA, transposeB } = attrs;
  const { scaleEvery, refusal } = storageNamed(b.dtype);
  const refused = refusal(b.shape);
  if (refused) throw new Error(`${describe(b)}: ${refused}`);
  if (b.dtype !== "f32" && (blocks > 1 || transposeA)) {
    throw new Error(`${describe(b)}: wants one block, and A not transposed`);
  }
  // The kernels have no guard at the end of k for a b that they cannot read as f32.
  if (!isFloat(b) && !transposeB && b.shape[0] % 4 !== 0) {
    throw new Error(
      `${describe(b)}: wants rows in multiples of 4 where they are summed, as in a gradient by x`,
    );
  }
  if (scaleEvery && sizeOf(scales!) !== sizeOf(b) / scaleEvery) {
    throw new Error(
      `${describe(b)} wants ${sizeOf(b) / scaleEvery} scales, one for each ${scaleEvery} values`,
    );
  }
}

/** Gradients of C = s·op(A)op(B), through bias and activation. Each gradient is split as its tensor is. */
function derivative(node: ProductNode, [gradient]: readonly (Tensor | undefined)[]): (Tensor | undefined)[] {
  const { transposeA, transposeB, blocks, splits, epilogue } = node.attrs;
  const { scale, activation, bias, residual } = epilogue;
  const [a, values] = node.inputs;
  const scales = operandTensors(node).get("scales");
  const dC = activation ? activationGradient(activation, activatedBy(node), gradient!) : gradient!;
  const times = (
    left: Tensor,
    right: Tensor | StoredTensor,
    transposes: Partial<Blocks>,
    [a, b, out]: readonly Split[],
  ) => matmul(left, right, { ...transposes, blocks, scale, splits: { a, b, out } });
  const { a: ofA, b: ofB, out: ofC } = splits;
  const dA = transposeA
    ? times(values, dC, { transposeB: true }, [ofB, ofC, ofA])
    : times(dC, { values, scales }, { transposeB: !transposeB }, [ofC, ofB, ofA]);
  const dB = () =>
    transposeB
      ? times(dC, a, { transposeA: true }, [ofC, ofA, ofB])
      : times(a, dC, { transposeA: !transposeA }, [ofA, ofC, ofB]);
  return [
    dA,
    values.dtype === "f32" ? dB() : undefined,
    ...scales ? [undefined] : [],
    ...bias ? [columnSum(dC)] : [],
    ...residual ? [gradient] : [],
  ];
}

/** The activation's output. Where only its sum with a residual is stored, the product is computed again. */
function activatedBy(node: ProductNode): Tensor {
  if (!node.attrs.epilogue.residual) return node.outputs[0];
  const { inputs, attrs } = changed(node, { residual: false });
  return node.graph.apply(productOp, inputs, attrs)[0];
}

function accumulate({ node }: Tensor, onto: Tensor): Tensor | undefined {
  const { epilogue }: ProductAttrs = node.attrs;
  if (epilogue.residual || !isLinear(epilogue) || !isFloat(node.inputs[1])) return undefined;
  const { inputs, attrs } = changed(node, { residual: true }, { residual: onto });
  return node.graph.apply(productOp, inputs, attrs)[0];
}

/** B's values are those that its storage stands for, so its scales are not read. */
function evaluate(inputs: readonly Float64Array[], node: ProductNode): readonly Float64Array[] {
  const { inputs: [a, b], outputs, attrs } = node;
  const { blocks, splits, transposeA, transposeB, epilogue } = attrs;
  const { m, n, k } = extents(node.inputs, attrs);
  const [la, lb, lc] = [
    layoutOf(a, blocks, splits.a),
    layoutOf(b, blocks, splits.b),
    layoutOf(outputs[0], blocks, splits.out),
  ];
  const operands = [...placesOf(node.inputs, attrs)].map(([name, at]) => [name, inputs[at]]);
  const read: Place["read"] = Object.fromEntries(operands);
  const out = outputs.map((tensor) => new Float64Array(sizeOf(tensor)));
  for (let z = 0; z < blocks; z++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let l = 0; l < k; l++) {
          const [ai, aj] = transposeA ? [l, i] : [i, l];
          const [bi, bj] = transposeB ? [j, l] : [l, j];
          sum += inputs[0][z * la.stride + ai * la.lead + aj] * inputs[1][z * lb.stride + bi * lb.lead + bj];
        }
        const at = z * lc.stride + i * lc.lead + j;
        const place = { row: Math.floor(at / lc.lead), column: at % lc.lead, columns: lc.lead, read };
        finished(epilogue, sum, place).forEach((value, output) => out[output][at] = value);
      }
    }
  }
  return out;
}

/** The op of `matmul`. */
export const productOp: Op<ProductAttrs> = {
  name: "product",
  storedInput: 1,
  infer,
  derivative,
  accumulate,
  evaluate,
  dispatches: (node, inPlace, device) => launchesOf(node, operandTensors(node), inPlace, device),
  scratch: scratchOf,
  variants: variantsOf,
  overwrites({ inputs, attrs }) {
    const at = placesOf(inputs, attrs).get("residual");
    return at === undefined ? [] : [at];
  },
};

/** A product whose epilogue `fuse` may extend: of f32, in one block, with A as it lies. */
export function isOpen(node: Node): node is ProductNode {
  return node.op === productOp && isFloat(node.inputs[1]) && node.attrs.blocks === 1 &&
    !node.attrs.transposeA;
}
