/** Matrix products, plain or block by block, with the epilogues that follow them: scale, bias, activation, residual. */

import matmulText from "../../../wgsl/matmul.wgsl" with { type: "text" };
import subgroupText from "../../../wgsl/matmul_subgroup.wgsl" with { type: "text" };
import { type DeviceTraits, type Grid, type Kernel, renderKernel } from "../../gpu/kernel.ts";
import {
  describe,
  type Dispatch,
  type DType,
  type Node,
  type Op,
  sizeOf,
  type Spec,
  type Tensor,
} from "../graph.ts";
import { columnSum } from "./column_sum.ts";
import { activationGradient } from "./activation.ts";

/** How a matrix is cut into blocks: `whole` is used by every block product. */
export type Split = "columns" | "rows";

/** Activations whose derivative can be read off their output. */
export type FusedActivation = "relu" | "tanh";

export interface MatmulAttrs {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** Products of equally many blocks of a, b and the output, laid out as `splits` says. */
  readonly blocks: number;
  readonly splits: { readonly a: Split; readonly b: Split; readonly out: Split };
  readonly scale: number;
  readonly activation: FusedActivation | undefined;
  readonly hasBias: boolean;
  readonly hasResidual: boolean;
}

/** Options of `matmul`. */
export interface MatmulOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  /** Cuts a, b and the output into this many blocks and multiplies block by block; 1 by default. */
  readonly blocks?: number;
  readonly splits?: { readonly a: Split; readonly b: Split; readonly out: Split };
  /** Multiplies the product; 1 by default. */
  readonly scale?: number;
  /** One value a column of the output. */
  readonly bias?: Tensor;
  /** Applied after scale and bias. */
  readonly activation?: FusedActivation;
  /** Added last; shaped like the output. */
  readonly residual?: Tensor;
}

const whole = { a: "columns", b: "columns", out: "columns" } as const;

/**
 * `activation(scale · op(a)·op(b) + bias) + residual` for row-major matrices, where op transposes on request. With
 * `blocks = b` it is b independent products of the blocks of a and b, written to the blocks of the output: BoRA's
 * U_k = x_k A_kᵀ is `{ transposeB, blocks, splits: { a: "columns", b: "columns", out: "columns" } }`.
 * @throws Error naming both shapes when they do not fit, or the number of blocks when it does not divide them.
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

/** Extent of one block of a matrix and where the blocks lie, in elements. */
interface Layout {
  readonly rows: number;
  readonly cols: number;
  readonly lead: number;
  readonly stride: number;
}

function layoutOf(spec: Spec, blocks: number, split: Split): Layout {
  if (spec.shape.length !== 2) throw new Error(`wants matrices, not ${describe(spec)}`);
  const [rows, cols] = spec.shape;
  if ((split === "rows" ? rows : cols) % blocks !== 0) {
    throw new Error(`${blocks} blocks do not divide the ${split} of ${describe(spec)}`);
  }
  return split === "rows"
    ? { rows: rows / blocks, cols, lead: cols, stride: rows / blocks * cols }
    : { rows, cols: cols / blocks, lead: cols, stride: cols / blocks };
}

/** m, n, k of one block product. */
function extents(inputs: readonly Spec[], attrs: MatmulAttrs): { m: number; n: number; k: number } {
  const a = layoutOf(inputs[0], attrs.blocks, attrs.splits.a);
  const b = layoutOf(inputs[1], attrs.blocks, attrs.splits.b);
  const [m, k] = attrs.transposeA ? [a.cols, a.rows] : [a.rows, a.cols];
  const [kB, n] = attrs.transposeB ? [b.cols, b.rows] : [b.rows, b.cols];
  if (k !== kB) {
    const note = `${attrs.transposeA ? "T" : "N"}${attrs.transposeB ? "T" : "N"}, ${attrs.blocks} blocks`;
    throw new Error(
      `${describe(inputs[0])} times ${describe(inputs[1])} (${note}): inner extents ${k} and ${kB} differ`,
    );
  }
  return { m, n, k };
}

function infer(inputs: readonly Spec[], attrs: MatmulAttrs): readonly Spec[] {
  const { m, n } = extents(inputs, attrs);
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

/** Gradients of C = s·op(A)op(B), through bias and activation; the splits travel with their tensors. */
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

/** How B is stored, as the kernels' PACKING has it. */
const packings: Readonly<Partial<Record<DType, number>>> = { f32: 0, f16: 1, int8: 2, int4: 3 };

/** A block product: extents, layouts, and which operands can be read and written as vec4. */
interface Problem {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Layout;
  readonly b: Layout;
  readonly c: Layout;
  readonly vectors: { readonly a: boolean; readonly b: boolean; readonly c: boolean };
  readonly packing: number;
}

/** vec4 wherever leading dimension, block stride and contiguous extent are multiples of 4. */
function problemOf(inputs: readonly Spec[], out: Spec, attrs: MatmulAttrs): Problem {
  const { m, n, k } = extents(inputs, attrs);
  const a = layoutOf(inputs[0], attrs.blocks, attrs.splits.a);
  const b = layoutOf(inputs[1], attrs.blocks, attrs.splits.b);
  const c = layoutOf(out, attrs.blocks, attrs.splits.out);
  const aligned = (layout: Layout, extent: number) => layout.lead % 4 + layout.stride % 4 + extent % 4 === 0;
  const vectors = {
    a: aligned(a, attrs.transposeA ? m : k),
    b: aligned(b, attrs.transposeB ? k : n),
    c: aligned(c, n),
  };
  return { m, n, k, a, b, c, vectors, packing: packings[inputs[1].dtype]! };
}

/** A kernel and the grid that covers the problem with it. */
interface Choice {
  readonly kernel: Kernel;
  readonly grid: Grid;
}

/** Steps of k: one where both operands are read across k, four where one is read along it as vec4. */
function stepOf({ transposeA, transposeB }: MatmulAttrs): number {
  return transposeA && !transposeB ? 1 : 4;
}

function epilogueDefines(attrs: MatmulAttrs, inPlace: boolean): Record<string, number> {
  return {
    BIAS: Number(attrs.hasBias),
    RESIDUAL: attrs.hasResidual ? (inPlace ? 2 : 1) : 0,
    ACTIVATION: attrs.activation === "relu" ? 1 : attrs.activation === "tanh" ? 2 : 0,
  };
}

/**
 * Tile and workgroup by shape, with eight lanes along the columns. llvmpipe spends its time in loads, which a larger tile
 * in registers shares among more products: at 512×768×768 16×16 ran faster than 16×8 in NN, NT and TN, interleaved.
 */
function tiling(m: number, n: number): { TILE_M: number; TILE_N: number; GROUP_M: number; GROUP_N: number } {
  if (n <= 16) {
    return { TILE_M: m >= 256 ? 8 : 4, TILE_N: 4, GROUP_M: 8, GROUP_N: n <= 4 ? 1 : n <= 8 ? 2 : 4 };
  }
  if (m >= 64 && n >= 128) return { TILE_M: 16, TILE_N: 16, GROUP_M: 4, GROUP_N: 8 };
  if (m >= 64 && n >= 64) return { TILE_M: 16, TILE_N: 8, GROUP_M: 4, GROUP_N: 8 };
  return { TILE_M: 4, TILE_N: 4, GROUP_M: 4, GROUP_N: 8 };
}

/** The kernel for every device, layout and shape. */
function plainChoice(attrs: MatmulAttrs, { m, n, k, vectors, packing }: Problem, inPlace: boolean): Choice {
  const tile = tiling(m, n);
  const step = stepOf(attrs);
  const kernel = renderKernel({ name: "matmul", text: matmulText }, {
    TRANS_A: Number(attrs.transposeA),
    TRANS_B: Number(attrs.transposeB),
    VEC_A: Number(vectors.a),
    // An operand read along k shares the step of 4 with one read across k, whose loads then need no guard either.
    VEC_B: Number(vectors.b && (step === 1 || k % 4 === 0)),
    VEC_C: Number(vectors.c),
    ...epilogueDefines(attrs, inPlace),
    PACKING: packing,
    ...tile,
    K_STEP: step,
  });
  const groups = [Math.ceil(n / tile.TILE_N / tile.GROUP_N), Math.ceil(m / tile.TILE_M / tile.GROUP_M)];
  return { kernel, grid: [groups[0], groups[1], attrs.blocks] };
}

/**
 * The kernel that broadcasts A within subgroups, where it fits and pays: at 768×1536×512 on llvmpipe it ran NT and NN twice
 * as fast as the plain one, interleaved; 32×8 was the best or near it of 16×8 to 64×8. A GPU's wide subgroups would make its
 * tiles too wide.
 */
function subgroupChoice(
  attrs: MatmulAttrs,
  { m, n, k, vectors, packing }: Problem,
  inPlace: boolean,
  { subgroupSize: SUBGROUP }: DeviceTraits,
): Choice | undefined {
  const [TILE_M, TILE_N, K_STEP] = [32, 8, stepOf(attrs)];
  const fits = vectors.a && vectors.b && vectors.c && k % K_STEP === 0 &&
    !(attrs.transposeA && attrs.transposeB);
  const pays = SUBGROUP >= 4 && SUBGROUP <= 16 && m >= TILE_M && n >= SUBGROUP * TILE_N / 2;
  if (!fits || !pays) return undefined;
  const LANES_A = attrs.transposeA ? Math.min(SUBGROUP, TILE_M / 4) : SUBGROUP;
  const kernel = renderKernel({ name: "matmul_subgroup", text: subgroupText }, {
    TRANS_A: Number(attrs.transposeA),
    TRANS_B: Number(attrs.transposeB),
    VEC_C: 1,
    ...epilogueDefines(attrs, inPlace),
    VEC_A: 1,
    VEC_B: 1,
    PACKING: packing,
    TILE_M,
    TILE_N,
    K_STEP,
    SUBGROUP,
    LANES_A,
    PER_LANE: TILE_M / (attrs.transposeA ? 4 * LANES_A : SUBGROUP),
  });
  return { kernel, grid: [Math.ceil(m / TILE_M), Math.ceil(n / TILE_N / SUBGROUP), attrs.blocks] };
}

/**
 * The launch of a product of `inputs` [a, b] into `out`, with what else its epilogue reads (`bias`, `residual`, `scales` of a
 * packed b). Throws nothing: shapes were checked when it was traced.
 */
export function productDispatch(
  attrs: MatmulAttrs,
  [left, right]: readonly Tensor[],
  out: Tensor,
  extra: Readonly<Record<string, Tensor>>,
  inPlace: boolean,
  device: DeviceTraits,
): Dispatch {
  const problem = problemOf([left, right], out, attrs);
  const { m, n, k, a, b, c } = problem;
  return {
    ...subgroupChoice(attrs, problem, inPlace, device) ?? plainChoice(attrs, problem, inPlace),
    params: {
      m,
      n,
      k,
      ld_a: a.lead,
      ld_b: b.lead,
      ld_c: c.lead,
      stride_a: a.stride,
      stride_b: b.stride,
      stride_c: c.stride,
      stride_bias: attrs.splits.out === "columns" ? n : 0,
      scale: attrs.scale,
    },
    bindings: { a: left, b: right, c: out, ...extra },
  };
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
  return [productDispatch(attrs, inputs, outputs[0], extra, inPlace, device)];
}

const matmulOp: Op<MatmulAttrs> = {
  name: "matmul",
  infer,
  derivative,
  accumulate,
  evaluate,
  dispatches,
  inPlaceInput: (node) => node.attrs.hasResidual ? node.inputs.length - 1 : -1,
};
