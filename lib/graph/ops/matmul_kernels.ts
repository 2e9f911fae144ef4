/** Which kernel computes a block product on a device, and the launches that do. */

import matmulText from "../../../wgsl/matmul.wgsl" with { type: "text" };
import subgroupText from "../../../wgsl/matmul_subgroup.wgsl" with { type: "text" };
import { type DeviceTraits, type Grid, type Kernel, renderKernel } from "../../gpu/kernel.ts";
import type { Defines } from "../../gpu/render.ts";
import type { Dispatch, DType, Spec, Tensor } from "../graph.ts";
import { extents, type Layout, layoutOf, type MatmulAttrs } from "./product.ts";

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
  /** Whether C is stored transposed. */
  readonly transposeC: boolean;
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
  return { m, n, k, a, b, c, vectors, packing: packings[inputs[1].dtype]!, transposeC: false };
}

/** Rows of C up to which lanes are better off along its columns. */
const few = 16;

/**
 * Whether to compute Cᵀ = Bᵀ A in place of C = Aᵀ B: an adapter's dB has r columns, and its transpose as many rows, which suit the
 * plain kernel's lanes.
 */
function isTallGradient(
  { transposeA, transposeB, hasBias, activation }: MatmulAttrs,
  { m, n }: Problem,
): boolean {
  return transposeA && !transposeB && !hasBias && !activation && n <= few && m > few;
}

/** The problem of Cᵀ = Bᵀ A. */
function transposed({ m, n, k, a, b, c, vectors, packing }: Problem): Problem {
  const own = { a: vectors.b, b: vectors.a, c: false };
  return { m: n, n: m, k, a: b, b: a, c, vectors: own, packing, transposeC: true };
}

/** A kernel, the grid that covers the problem with it, and how much of k one launch walks. */
interface Choice {
  kernel(epilogue: Defines): Kernel;
  readonly grid: Grid;
  readonly kChunk: number;
}

/** Steps of k: one where both operands are read across k, four where one is read along it as vec4. */
function stepOf({ transposeA, transposeB }: MatmulAttrs): number {
  return transposeA && !transposeB ? 1 : 4;
}

function epilogueDefines(attrs: MatmulAttrs, inPlace: boolean): Defines {
  return {
    BIAS: Number(attrs.hasBias),
    RESIDUAL: attrs.hasResidual ? (inPlace ? 2 : 1) : 0,
    ACTIVATION: attrs.activation === "relu" ? 1 : attrs.activation === "tanh" ? 2 : 0,
  };
}

/**
 * Whether lanes had better be shared out over the columns of all blocks than keep to one block's, which are too few for them. On a
 * longer k the subgroups' fewer loads outweigh a quarter of them idle: at r = 32 and b = 16 they took 0.9 of the time.
 */
function isNarrow(n: number, k: number, blocks: number): boolean {
  return blocks > 1 && n < (k <= 16 ? 128 : 33);
}

/**
 * Tile and workgroup by shape, with eight lanes along the columns. llvmpipe spends its time in loads, which a larger tile
 * in registers shares among more products: at 512×768×768 16×16 ran faster than 16×8 in NN, NT and TN, interleaved.
 */
function tiling(
  m: number,
  n: number,
  k: number,
  blocks: number,
): { TILE_M: number; TILE_N: number; GROUP_M: number; GROUP_N: number } {
  if (n <= few) {
    return { TILE_M: m >= 256 ? 8 : 4, TILE_N: 4, GROUP_M: 8, GROUP_N: n <= 4 ? 1 : n <= 8 ? 2 : 4 };
  }
  // An adapter's dA: at 8×768×512 TN (and its 16 blocks of 48 columns) 1.3–1.9 times as fast as 4×4 in 4×8, in turn.
  if (m <= few) return { TILE_M: m <= 4 ? 4 : 8, TILE_N: 8, GROUP_M: m <= 8 ? 1 : 2, GROUP_N: 8 };
  // An adapter's y and dx in blocks: at 16 blocks of 48 columns, and 24 of 32, the best of 8×4 to 16×16 in 1×8 to 4×8, in turn.
  if (isNarrow(n, k, blocks)) return { TILE_M: 8, TILE_N: 16, GROUP_M: 1, GROUP_N: 8 };
  if (m >= 64 && n >= 128) return { TILE_M: 16, TILE_N: 16, GROUP_M: 4, GROUP_N: 8 };
  if (m >= 64 && n >= 64) return { TILE_M: 16, TILE_N: 8, GROUP_M: 4, GROUP_N: 8 };
  return { TILE_M: 4, TILE_N: 4, GROUP_M: 4, GROUP_N: 8 };
}

/** The epilogue of a launch that adds its part of k to what the one before left. */
const addToOutput: Defines = { BIAS: 0, RESIDUAL: 2, ACTIVATION: 0 };

/** The kernel for every device, layout and shape. */
function plainChoice(attrs: MatmulAttrs, { m, n, k, vectors, packing, transposeC }: Problem): Choice {
  const tile = tiling(m, n, k, attrs.blocks);
  const step = stepOf(attrs);
  return {
    kernel: (epilogue) =>
      renderKernel({ name: "matmul", text: matmulText }, {
        TRANS_A: Number(attrs.transposeA),
        TRANS_B: Number(attrs.transposeB),
        VEC_A: Number(vectors.a),
        // An operand read along k shares the step of 4 with one read across k, whose loads then need no guard either.
        VEC_B: Number(vectors.b && (step === 1 || k % 4 === 0)),
        VEC_C: Number(vectors.c),
        TRANS_C: Number(transposeC),
        ...epilogue,
        PACKING: packing,
        WIDTH: 4,
        ...tile,
        K_STEP: step,
      }),
    grid: [
      Math.ceil(attrs.blocks * Math.ceil(n / tile.TILE_N) / tile.GROUP_N),
      Math.ceil(m / tile.TILE_M / tile.GROUP_M),
      1,
    ],
    kChunk: k,
  };
}

/** Row tiles that share the columns of B in cache, before the next columns are read. */
const band = 8;

/**
 * Floats of k in one launch of a product whose B is read across k (NN, TN). Its rows lie far apart, and those of one tile's
 * columns must stay in a core's cache and page table while a band of A passes by. At 768×3072×2048 TN on llvmpipe, one launch
 * ran at 23 GFLOP/s, chunks of 1024, 768 and 512 in bands of 8 at 33, 38 and 41, interleaved; k up to 1024 is as well whole.
 */
const kChunkAcross = 512;

/**
 * The kernel that broadcasts A within subgroups, where it fits and pays: at 768×1536×512 on llvmpipe it ran NT and NN twice
 * as fast as the plain one, interleaved; 32×8 was the best or near it of 16×8 to 64×8. A GPU's wide subgroups would make its
 * tiles too wide.
 */
function subgroupChoice(
  attrs: MatmulAttrs,
  problem: Problem,
  { subgroupSize: SUBGROUP }: DeviceTraits,
): Choice | undefined {
  const { m, n, k, vectors, packing, transposeC } = problem;
  const [TILE_M, K_STEP] = [rowsPerSubgroup(attrs, problem, SUBGROUP), stepOf(attrs)];
  const TILE_N = columnsPerLane(attrs, problem, SUBGROUP);
  const fits = vectors.a && k % K_STEP === 0 && !(attrs.transposeA && attrs.transposeB);
  if (!fits || TILE_M === 0 || TILE_N === 0) return undefined;
  const LANES_A = attrs.transposeA ? Math.min(SUBGROUP, TILE_M / 4) : SUBGROUP;
  return {
    kernel: (epilogue) =>
      renderKernel({ name: "matmul_subgroup", text: subgroupText }, {
        TRANS_A: Number(attrs.transposeA),
        TRANS_B: Number(attrs.transposeB),
        VEC_C: Number(TILE_N > 1 && vectors.c),
        TRANS_C: Number(transposeC),
        ...epilogue,
        VEC_A: 1,
        VEC_B: Number(TILE_N > 1 || attrs.transposeB),
        WIDTH: Math.min(4, TILE_N),
        PACKING: packing,
        TILE_M,
        TILE_N,
        K_STEP,
        SUBGROUP,
        LANES_A,
        PER_LANE: TILE_M / (attrs.transposeA ? 4 * LANES_A : SUBGROUP),
        BAND: band,
      }),
    grid: [Math.ceil(m / TILE_M), Math.ceil(n / TILE_N / SUBGROUP), attrs.blocks],
    // An activation wants the whole sum.
    kChunk: attrs.transposeB || attrs.activation || k <= 2 * kChunkAcross ? k : kChunkAcross,
  };
}

/**
 * Rows of C that a subgroup owns, or 0 where that kernel does not pay. An adapter's dA and dB (as its transpose) have r of them: at
 * 512 tokens, r = 8 and 16, b = 1 it took 0.87–0.94 and 0.61–0.77 of the plain kernel's time; more in blocks too narrow for the lanes.
 */
function rowsPerSubgroup({ transposeA }: MatmulAttrs, { m, n }: Problem, lanes: number): number {
  if (transposeA && m <= few && n >= lanes * 8) return m <= 8 ? 8 : 16;
  if (m < 32) return 0;
  // SwiftShader, of four lanes: at 512×768×768 TN 16 rows took 0.6 of the time of 32, NN and NT more (1.1–1.3).
  return transposeA && lanes === 4 ? 16 : 32;
}

/**
 * Columns of C that a lane of a subgroup owns, or 0 where that kernel does not pay. An adapter's U and dV have r columns: one a
 * lane, at r = 8 and 512 tokens, took 0.42–0.46 of the time of the plain kernel, in turn.
 */
function columnsPerLane(
  { transposeA, transposeB, blocks }: MatmulAttrs,
  { n, k, vectors, packing, transposeC }: Problem,
  lanes: number,
): number {
  if (lanes < 4 || lanes > 16) return 0;
  if (n <= few) return n > lanes / 2 && !transposeA && packing === 0 && (vectors.b || !transposeB) ? 1 : 0;
  if (!vectors.b || !(vectors.c || transposeC) || isNarrow(n, k, blocks)) return 0;
  return n > lanes * 4 ? 8 : 4;
}

/**
 * The launches of a product of `inputs` [a, b] into `out`, with what else its epilogue reads (`bias`, `residual`, `scales` of a
 * packed b). Throws nothing: shapes were checked when it was traced.
 */
export function productDispatches(
  attrs: MatmulAttrs,
  [left, right]: readonly Tensor[],
  out: Tensor,
  extra: Readonly<Record<string, Tensor>>,
  inPlace: boolean,
  device: DeviceTraits,
): Dispatch[] {
  const stated = problemOf([left, right], out, attrs);
  const swaps = isTallGradient(attrs, stated);
  const problem = swaps ? transposed(stated) : stated;
  const { m, n, k, a, b, c } = problem;
  const { kernel, grid, kChunk } = subgroupChoice(attrs, problem, device) ?? plainChoice(attrs, problem);
  const { bias: _, residual: __, ...more } = extra;
  return Array.from({ length: Math.ceil(k / kChunk) }, (_, chunk): Dispatch => ({
    kernel: kernel(chunk === 0 ? epilogueDefines(attrs, inPlace) : addToOutput),
    grid,
    params: {
      m,
      n,
      k: Math.min(kChunk, k - chunk * kChunk),
      blocks: attrs.blocks,
      ld_a: a.lead,
      ld_b: b.lead,
      ld_c: c.lead,
      stride_a: a.stride,
      stride_b: b.stride,
      stride_c: c.stride,
      stride_bias: attrs.splits.out === "columns" ? n : 0,
      start_a: chunk * kChunk * (attrs.transposeA ? a.lead : 1),
      start_b: chunk * kChunk * (attrs.transposeB ? 1 : b.lead),
      scale: attrs.scale,
    },
    bindings: { a: swaps ? right : left, b: swaps ? left : right, c: out, ...chunk === 0 ? extra : more },
  }));
}
