/** The kernels that compute a block product, each with its tile. */

import matmulText from "../../../../wgsl/matmul.wgsl" with { type: "text" };
import subgroupText from "../../../../wgsl/matmul_subgroup.wgsl" with { type: "text" };
import workgroupText from "../../../../wgsl/matmul_workgroup.wgsl" with { type: "text" };
import { type DeviceTraits, type Grid, type Kernel, renderKernel } from "../../../gpu/kernel.ts";
import type { Defines } from "../../../gpu/render.ts";
import { noEpilogue } from "./epilogue.ts";
import { type Problem, stepOf } from "./problem.ts";

/** A kernel that computes a product, and its grid. */
export interface Candidate {
  /** Kernel and tile, such as `subgroup 32×8`. */
  readonly name: string;
  /** Renders it with the defines of an epilogue. */
  kernel(epilogue: Defines): Kernel;
  readonly grid: Grid;
  /** The second stage, where the kernel only sums parts of k. */
  readonly joined?: Joined;
}

/** A kernel that adds up the parts of a product, in parts × m × columns of all blocks. */
export interface Joined {
  readonly parts: number;
  /** Renders it with the defines of an epilogue. */
  kernel(epilogue: Defines): Kernel;
  readonly grid: Grid;
}

/** A kernel of this file with its tile. */
export interface Tiled {
  readonly kernel: "plain" | "subgroup" | "workgroup" | "lanes" | "alone" | "teams";
  /** Whether it sums in another order than that of k, and so gives bits of its own. */
  readonly reorders?: true;
  /** The kernel for a problem on a device. */
  on(problem: Problem, device: DeviceTraits): Candidate;
}

/** The WGSL by which the kernels read B; see `wgsl/include/matmul.wgsl`. */
function partsOf({ reading: { needs, bindings, load, walk } }: Problem): Readonly<Record<string, string>> {
  return {
    "b.enable": needs ? `enable ${needs};` : "",
    "b.bindings": bindings({ name: "b", binding: 2, scalesBinding: 6 }),
    "b.load": load("b"),
    "b.start": walk?.start ?? "",
    "b.hop": walk?.hop ?? "",
  };
}

/** Renders a kernel that reads B as the problem's storage has it, or as `parts` say instead. */
export function renderProduct(
  name: string,
  text: string,
  problem: Problem,
  defines: Defines,
  parts: Readonly<Record<string, string>> = {},
): Kernel {
  const { storage, reading, transposeA, transposeB } = problem;
  const variant = reading.needs ? `${storage}, ${reading.needs}` : storage;
  return renderKernel({ name, text, variant, parts: { ...partsOf(problem), ...parts } }, {
    TRANS_A: Number(transposeA),
    TRANS_B: Number(transposeB),
    ...defines,
    ...reading.defines,
  });
}

/** The shape of an invocation's tile, for a low-rank term. */
function tileDefines({ LOW_RANK }: Defines, ROWS: number, columns: number): Defines {
  return LOW_RANK ? { ROWS, QUADS: columns / 4, SPREAD: 0 } : {};
}

/**
 * The kernel for every device, layout and shape: `rows`×`columns` of C per invocation, and `down`×`across` invocations in
 * a workgroup.
 */
export function plain(rows: number, columns: number, down: number, across: number): Tiled {
  const on = (problem: Problem): Candidate => {
    const { m, n, k, blocks, vectors, transposeC } = problem;
    const step = stepOf(problem);
    return {
      name: `plain ${rows}×${columns} in ${down}×${across}`,
      kernel: (epilogue) =>
        renderProduct("matmul", matmulText, problem, {
          VEC_A: Number(vectors.a),
          // With a step of 4, B's vec4 loads have no guard at the end of k, which must then be a multiple of 4.
          VEC_B: Number(vectors.b && (step === 1 || k % 4 === 0)),
          VEC_C: Number(vectors.c),
          TRANS_C: Number(transposeC),
          ...epilogue,
          ...tileDefines(epilogue, rows, columns),
          WIDTH: 4,
          TILE_M: rows,
          TILE_N: columns,
          GROUP_M: down,
          GROUP_N: across,
          K_STEP: step,
        }),
      grid: [Math.ceil(blocks * Math.ceil(n / columns) / across), Math.ceil(m / rows / down), 1],
    };
  };
  return { kernel: "plain", on };
}

/**
 * Number of row tiles that are computed before the next columns of B are read, and so share the current ones
 * in cache. In NN, a tile reads B at k separate places, which is slow, so more row tiles share them.
 */
function bandOf({ transposeA, transposeB }: Problem): number {
  return transposeA || transposeB ? 8 : 16;
}

/**
 * Rows that the subgroup kernel's epilogue handles at a time. A low-rank term loads its L again for each
 * strip, so its strips are longer.
 */
function stripOf({ LOW_RANK }: Defines): number {
  return LOW_RANK ? 8 : 4;
}

/**
 * The kernel that broadcasts A within subgroups: `rows` of C per subgroup, a row per lane or, for Aᵀ, four, and `columns`
 * of C per lane.
 */
export function subgroup(rows: number, columns: number): Tiled {
  const on = (problem: Problem, { subgroupSize: lanes }: DeviceTraits): Candidate => {
    const { m, n, blocks, transposeA, transposeB, vectors, transposeC, reading } = problem;
    const LANES_A = transposeA ? Math.min(lanes, rows / 4) : lanes;
    const pair = transposeB || blocks > 1 || columns !== 8 ? undefined : reading.pair;
    return {
      name: `subgroup ${rows}×${columns}`,
      kernel: (epilogue) =>
        renderProduct("matmul_subgroup", subgroupText, problem, {
          VEC_C: Number(columns > 1 && vectors.c),
          TRANS_C: Number(transposeC),
          ...epilogue,
          ...tileDefines(epilogue, stripOf(epilogue), columns),
          VEC_A: 1,
          VEC_B: Number(columns > 1 || transposeB),
          WIDTH: Math.min(4, columns),
          WALK: pair?.apart ?? Number(reading.walk !== undefined),
          TILE_M: rows,
          TILE_N: columns,
          STRIP: stripOf(epilogue),
          K_STEP: stepOf(problem),
          SUBGROUP: lanes,
          LANES_A,
          PER_LANE: rows / (transposeA ? 4 * LANES_A : lanes),
          BAND: bandOf(problem),
        }, pair && { "b.pair": pair.load("b") }),
      grid: [Math.ceil(m / rows), Math.ceil(n / columns / lanes), blocks],
    };
  };
  return { kernel: "subgroup", on };
}

/** What tiles in workgroup memory hold. */
const tilesOf = {
  f32: "alias Scalar = f32;\nalias Quad = vec4f;",
  f16: "alias Scalar = f16;\nalias Quad = vec4h;",
} as const;

/** A tile of C in workgroup memory. */
export interface WorkgroupTile {
  /** Of C, per workgroup. */
  readonly rows: number;
  readonly columns: number;
  /** Steps of k at a time. */
  readonly depth: number;
  /** Rows and columns of C per invocation. */
  readonly down: number;
  readonly across: number;
}

/** The kernel with tiles in workgroup memory; with `parts` only the sums of that many parts of k. */
export function workgroupCandidate(
  { rows, columns, depth, down, across }: WorkgroupTile,
  problem: Problem,
  { halfOperands = false }: DeviceTraits,
  parts = 1,
): Candidate {
  const { m, n, blocks, vectors, transposeC } = problem;
  const scalar = halfOperands ? "f16" : "f32";
  const texts = { tiles: tilesOf[scalar], ...halfOperands ? { "b.enable": "enable f16;" } : {} };
  const suffix = `${parts > 1 ? `, k in ${parts} parts` : ""}${halfOperands ? ", f16 operands" : ""}`;
  return {
    name: `workgroup ${rows}×${columns} by ${down}×${across}${suffix}`,
    kernel: (epilogue) =>
      renderProduct(`matmul_workgroup${halfOperands ? " in halves" : ""}`, workgroupText, problem, {
        VEC_A: Number(vectors.a),
        VEC_B: Number(vectors.b),
        VEC_C: Number(parts > 1 ? n % 4 === 0 : vectors.c),
        TRANS_C: Number(transposeC),
        ...parts > 1 ? { ...noEpilogue, LOW_RANK: epilogue.LOW_RANK } : epilogue,
        WIDTH: 4,
        TILE_M: rows,
        TILE_N: columns,
        TILE_K: depth,
        PER_M: down,
        PER_N: across,
        THREADS: rows / down * (columns / across),
        PARTS: Number(parts > 1),
      }, texts),
    grid: [Math.ceil(n / columns), Math.ceil(m / rows), parts > 1 ? parts : blocks],
  };
}

/** The kernel with tiles in workgroup memory. */
export function workgroup(rows: number, columns: number, depth: number, down: number, across: number): Tiled {
  const tile = { rows, columns, depth, down, across };
  return { kernel: "workgroup", on: (problem, device) => workgroupCandidate(tile, problem, device) };
}
