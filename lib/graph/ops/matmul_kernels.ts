/** Which kernel computes a block product on a device, and the launches that do. */

import matmulText from "../../../wgsl/matmul.wgsl" with { type: "text" };
import subgroupText from "../../../wgsl/matmul_subgroup.wgsl" with { type: "text" };
import workgroupText from "../../../wgsl/matmul_workgroup.wgsl" with { type: "text" };
import { type DeviceTraits, type Grid, type Kernel, renderKernel } from "../../gpu/kernel.ts";
import type { Defines } from "../../gpu/render.ts";
import type { Dispatch, DType, Spec, Tensor, Variants } from "../graph.ts";
import { extents, type Layout, layoutOf, type LowRankTerm, type MatmulAttrs } from "./product.ts";

/** How B is stored, as the kernels' PACKING has it; f16 is unpacked by hand, or by the device where it can. */
const packings: Readonly<Partial<Record<DType, number>>> = { f32: 0, f16: 1, int8: 2, int4: 3 };
const nativeF16 = 4;

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

/** A kernel that computes the product, and the grid that covers it. */
interface Candidate {
  /** Family and tile, such as `subgroup 32×8`. */
  readonly name: string;
  kernel(epilogue: Defines): Kernel;
  readonly grid: Grid;
}

/** Steps of k: one where both operands are read across k, four where one is read along it as vec4. */
function stepOf({ transposeA, transposeB }: MatmulAttrs): number {
  return transposeA && !transposeB ? 1 : 4;
}

function epilogueDefines(attrs: MatmulAttrs, inPlace: boolean, term?: LowRankTerm): Defines {
  return {
    LOW_RANK: term ? (term.transposed ? 1 : 2) : 0,
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

/** A plain kernel's tile an invocation, and invocations a workgroup, along rows and columns. */
interface Tiling {
  readonly TILE_M: number;
  readonly TILE_N: number;
  readonly GROUP_M: number;
  readonly GROUP_N: number;
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
): Tiling {
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
const addToOutput: Defines = { LOW_RANK: 0, BIAS: 0, RESIDUAL: 2, ACTIVATION: 0 };

/** Where the rows and columns of an invocation's tile lie, for a term of low rank. */
function tileDefines({ LOW_RANK }: Defines, ROWS: number, columns: number, isSpread: boolean): Defines {
  return LOW_RANK ? { ROWS, QUADS: columns / 4, SPREAD: Number(isSpread) } : {};
}

/** The kernel for every device, layout and shape. */
function plain(
  attrs: MatmulAttrs,
  { m, n, k, vectors, packing, transposeC }: Problem,
  { TILE_M, TILE_N, GROUP_M, GROUP_N }: Tiling,
): Candidate {
  const step = stepOf(attrs);
  return {
    name: `plain ${TILE_M}×${TILE_N} in ${GROUP_M}×${GROUP_N}`,
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
        ...tileDefines(epilogue, TILE_M, TILE_N, false),
        PACKING: packing,
        WIDTH: 4,
        TILE_M,
        TILE_N,
        GROUP_M,
        GROUP_N,
        K_STEP: step,
      }),
    grid: [
      Math.ceil(attrs.blocks * Math.ceil(n / TILE_N) / GROUP_N),
      Math.ceil(m / TILE_M / GROUP_M),
      1,
    ],
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

/** Rows of C that a subgroup owns, and columns of them that a lane does. */
type SubgroupTile = readonly [rows: number, columns: number];

/**
 * The tile with which the kernel that broadcasts A within subgroups is the default, where it fits and pays: at 768×1536×512 on
 * llvmpipe it ran NT and NN twice as fast as the plain one, interleaved; 32×8 was the best or near it of 16×8 to 64×8. A GPU's
 * wide subgroups would make its tiles too wide.
 */
function usualSubgroupTile(
  attrs: MatmulAttrs,
  problem: Problem,
  { subgroupSize }: DeviceTraits,
): SubgroupTile | undefined {
  const rows = rowsPerSubgroup(attrs, problem, subgroupSize);
  const columns = columnsPerLane(attrs, problem, subgroupSize);
  return readsAlong(attrs, problem) && rows > 0 && columns > 0 ? [rows, columns] : undefined;
}

/** Whether A can be read as the kernels for subgroups and workgroups do, as vec4 and a whole step of k at a time. */
function readsAlong(attrs: MatmulAttrs, { k, vectors }: Problem): boolean {
  return vectors.a && k % stepOf(attrs) === 0 && !(attrs.transposeA && attrs.transposeB);
}

/** The kernel that broadcasts A within subgroups; a tile has a row for each lane or, of Aᵀ, four. */
function subgroup(
  attrs: MatmulAttrs,
  { m, n, vectors, packing, transposeC }: Problem,
  { subgroupSize: SUBGROUP }: DeviceTraits,
  [TILE_M, TILE_N]: SubgroupTile,
): Candidate {
  const LANES_A = attrs.transposeA ? Math.min(SUBGROUP, TILE_M / 4) : SUBGROUP;
  return {
    name: `subgroup ${TILE_M}×${TILE_N}`,
    kernel: (epilogue) =>
      renderKernel({ name: "matmul_subgroup", text: subgroupText }, {
        TRANS_A: Number(attrs.transposeA),
        TRANS_B: Number(attrs.transposeB),
        VEC_C: Number(TILE_N > 1 && vectors.c),
        TRANS_C: Number(transposeC),
        ...epilogue,
        ...tileDefines(epilogue, TILE_M, TILE_N, false),
        VEC_A: 1,
        VEC_B: Number(TILE_N > 1 || attrs.transposeB),
        WIDTH: Math.min(4, TILE_N),
        PACKING: packing,
        TILE_M,
        TILE_N,
        K_STEP: stepOf(attrs),
        SUBGROUP,
        LANES_A,
        PER_LANE: TILE_M / (attrs.transposeA ? 4 * LANES_A : SUBGROUP),
        BAND: band,
      }),
    grid: [Math.ceil(m / TILE_M), Math.ceil(n / TILE_N / SUBGROUP), attrs.blocks],
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

/** How much of k one launch walks, whichever kernel does: the candidates of a product sum in one order, and so to the same bits. */
function kChunkOf(attrs: MatmulAttrs, problem: Problem, device: DeviceTraits): number {
  const { k } = problem;
  // An activation wants the whole sum.
  if (attrs.transposeB || attrs.activation || k <= 2 * kChunkAcross) return k;
  return usualSubgroupTile(attrs, problem, device) ? kChunkAcross : k;
}

/** A tile in workgroup memory: rows and columns of it, steps of k in it, rows and columns of an invocation. */
interface WorkgroupTile {
  readonly TILE_M: number;
  readonly TILE_N: number;
  readonly TILE_K: number;
  readonly PER_M: number;
  readonly PER_N: number;
}

/** The usual tiles of GPUs, in 64 to 256 invocations and 8 to 16 KiB: what every device has. */
const workgroupTiles: readonly WorkgroupTile[] = [
  { TILE_M: 32, TILE_N: 32, TILE_K: 32, PER_M: 4, PER_N: 4 },
  { TILE_M: 64, TILE_N: 64, TILE_K: 32, PER_M: 4, PER_N: 4 },
  { TILE_M: 128, TILE_N: 128, TILE_K: 16, PER_M: 8, PER_N: 8 },
];

/** The kernel with tiles in workgroup memory; `problem` reads vectors. */
function workgroup(attrs: MatmulAttrs, { m, n, packing }: Problem, tile: WorkgroupTile): Candidate {
  const { TILE_M, TILE_N, TILE_K, PER_M, PER_N } = tile;
  return {
    name: `workgroup ${TILE_M}×${TILE_N} by ${PER_M}×${PER_N}`,
    kernel: (epilogue) =>
      renderKernel({ name: "matmul_workgroup", text: workgroupText }, {
        TRANS_A: Number(attrs.transposeA),
        TRANS_B: Number(attrs.transposeB),
        VEC_A: 1,
        VEC_B: 1,
        VEC_C: 1,
        TRANS_C: 0,
        ...epilogue,
        ...tileDefines(epilogue, PER_M, PER_N, true),
        WIDTH: 4,
        PACKING: packing,
        TILE_M,
        TILE_N,
        TILE_K,
        PER_M,
        PER_N,
        THREADS: TILE_M / PER_M * (TILE_N / PER_N),
      }),
    grid: [Math.ceil(n / TILE_N), Math.ceil(m / TILE_M), attrs.blocks],
  };
}

/** Every kernel that computes the product on the device, the default first. */
function candidates(attrs: MatmulAttrs, problem: Problem, device: DeviceTraits): Candidate[] {
  const usual = usualSubgroupTile(attrs, problem, device);
  const all = [
    ...usual ? [subgroup(attrs, problem, device, usual)] : [],
    ...plainTilings(problem, attrs.blocks).map((tile) => plain(attrs, problem, tile)),
  ];
  const { vectors, transposeC } = problem;
  if (readsAlong(attrs, problem) && vectors.b && (vectors.c || transposeC)) {
    all.push(...subgroupTiles(attrs, device, problem).map((tile) => subgroup(attrs, problem, device, tile)));
    if (vectors.c) {
      all.push(...workgroupTilesOn(device, problem).map((tile) => workgroup(attrs, problem, tile)));
    }
  }
  if (device.f16 && problem.packing === packings.f16) {
    const native = candidates(attrs, { ...problem, packing: nativeF16 }, device);
    all.push(...native.map((one) => ({ ...one, name: `${one.name}, f16` })));
  }
  return [...new Map(all.map((one) => [one.name, one])).values()];
}

/**
 * The default tiling and others. Small ones are for GPUs, which want many invocations; narrow problems want narrow groups; and
 * with scalar loads a large tile is code that takes long to compile.
 */
function plainTilings({ m, n, k, vectors }: Problem, blocks: number): Tiling[] {
  const usual = tiling(m, n, k, blocks);
  const { GROUP_M, GROUP_N } = usual;
  const others = n <= few
    ? [[4, 4, 64 / GROUP_N, GROUP_N], [8, 4, 32 / GROUP_N, GROUP_N], [16, 4, 8, GROUP_N]]
    : m <= few
    ? [[4, 4, GROUP_M, 64 / GROUP_M], [4, 8, GROUP_M, 32 / GROUP_M], [8, 16, GROUP_M, 8]]
    : [[4, 4, 8, 16], [8, 8, 8, 8], ...vectors.a && vectors.b ? [[16, 8, 4, 8], [16, 16, 4, 8]] : []];
  return [
    usual,
    ...others.map(([TILE_M, TILE_N, GROUP_M, GROUP_N]) => ({ TILE_M, TILE_N, GROUP_M, GROUP_N })),
  ];
}

/** Tiles of the kernel for subgroups that are worth a try: a row for each lane to load, and as much of C as fits in registers. */
function subgroupTiles(
  { transposeA }: MatmulAttrs,
  { subgroupSize }: DeviceTraits,
  { m }: Problem,
): SubgroupTile[] {
  if (subgroupSize < 4 || subgroupSize > 32) return [];
  const tiles: SubgroupTile[] = subgroupSize > 16 ? [[32, 4]] : [[16, 8], [32, 8], [64, 4]];
  return tiles.filter(([rows]) => 2 * m >= rows || (transposeA && rows === 16));
}

/**
 * Tiles in workgroup memory that the problem half fills. To a software driver that memory is like any other: at 512×768×768 TN
 * they took 2 to 4 times as long as the default on llvmpipe and on SwiftShader, which also takes longest to compile them.
 */
function workgroupTilesOn({ software }: DeviceTraits, { m, n }: Problem): readonly WorkgroupTile[] {
  return software ? [] : workgroupTiles.filter(({ TILE_M, TILE_N }) => 2 * m >= TILE_M && 2 * n >= TILE_N);
}

/** The candidate that was chosen for products like this one on the device, else the default. */
function chosen(attrs: MatmulAttrs, problem: Problem, device: DeviceTraits): Candidate {
  const all = candidates(attrs, problem, device);
  const name = device.choices?.get(bucketOf(attrs, problem));
  return all.find((candidate) => candidate.name === name) ?? all[0];
}

/** What products are chosen alike by: layout, storage, and extents up to the next power of two. */
function bucketOf(
  { transposeA, transposeB, blocks }: MatmulAttrs,
  { m, n, k, vectors, packing, transposeC }: Problem,
): string {
  const upTo = (extent: number) => 2 ** Math.ceil(Math.log2(extent));
  const layout = `${transposeA ? "T" : "N"}${transposeB ? "T" : "N"}${transposeC ? "ᵀ" : ""}`;
  const width = Object.entries(vectors).filter(([, wide]) => wide).map(([name]) => name).join("");
  const size = [m, n, k].map(upTo).join("×");
  return `product ${layout} ${size}, ${upTo(blocks)} blocks, vec4 ${width || "none"}, packing ${packing}`;
}

/** The candidates for a product of `inputs` [a, b] into `out`. */
export function productVariants(
  attrs: MatmulAttrs,
  inputs: readonly Spec[],
  out: Spec,
  device: DeviceTraits,
): Variants {
  const stated = problemOf(inputs, out, attrs);
  const problem = isTallGradient(attrs, stated) ? transposed(stated) : stated;
  const { m, n, k } = problem;
  return {
    bucket: bucketOf(attrs, problem),
    candidates: candidates(attrs, problem, device).map(({ name, kernel }) => ({
      name,
      kernel: kernel(addToOutput),
    })),
    multiplyAdds: m * n * k * attrs.blocks,
  };
}

/**
 * The launches of a product of `inputs` [a, b] into `out`, with what else its epilogue reads (`bias`, `residual`, `scales` of a
 * packed b) and, before that, a term of low rank. Throws nothing: shapes were checked when it was traced.
 */
export function productDispatches(
  attrs: MatmulAttrs,
  [left, right]: readonly Tensor[],
  out: Tensor,
  extra: Readonly<Record<string, Tensor>>,
  inPlace: boolean,
  device: DeviceTraits,
  term?: LowRankTerm,
): Dispatch[] {
  const stated = problemOf([left, right], out, attrs);
  const swaps = isTallGradient(attrs, stated);
  const problem = swaps ? transposed(stated) : stated;
  const { m, n, k, a, b, c } = problem;
  const { kernel, grid } = chosen(attrs, problem, device);
  const kChunk = kChunkOf(attrs, problem, device);
  const { bias: _, residual: __, ...more } = extra;
  return Array.from({ length: Math.ceil(k / kChunk) }, (_, chunk): Dispatch => ({
    kernel: kernel(chunk === 0 ? epilogueDefines(attrs, inPlace, term) : addToOutput),
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
      ...term && chunk === 0 ? termParams(term, n) : {},
    },
    bindings: {
      a: swaps ? right : left,
      b: swaps ? left : right,
      c: out,
      ...chunk === 0 ? extra : more,
      ...term && chunk === 0 ? { v: term.v, low: term.low } : {},
    },
  }));
}

function termParams({ v, blocks, scale }: LowRankTerm, n: number): Record<string, number> {
  const [, width] = v.shape;
  return { rank: width / blocks, ld_v: width, block_cols: n / blocks, low_rank_scale: scale };
}
