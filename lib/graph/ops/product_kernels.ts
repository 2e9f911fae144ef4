/** The kernels that compute a block product, each with its tile. */

import matmulText from "../../../wgsl/matmul.wgsl" with { type: "text" };
import subgroupText from "../../../wgsl/matmul_subgroup.wgsl" with { type: "text" };
import workgroupText from "../../../wgsl/matmul_workgroup.wgsl" with { type: "text" };
import { type DeviceTraits, type Grid, type Kernel, renderKernel } from "../../gpu/kernel.ts";
import type { Defines } from "../../gpu/render.ts";
import type { MatmulAttrs } from "./product.ts";
import { panelWidth } from "../panels.ts";
import { packings, type Problem, stepOf } from "./product_problem.ts";

/** A kernel that computes the product, and its grid. */
export interface Candidate {
  /** Family and tile, such as `subgroup 32×8`. */
  readonly name: string;
  kernel(epilogue: Defines): Kernel;
  readonly grid: Grid;
}

/** The shape of an invocation's tile, for a low-rank term. */
function tileDefines({ LOW_RANK }: Defines, ROWS: number, columns: number, isSpread: boolean): Defines {
  return LOW_RANK ? { ROWS, QUADS: columns / 4, SPREAD: Number(isSpread) } : {};
}

/** How B is stored. */
function storageDefines(PACKING: number): Defines {
  return PACKING === packings["f32 in panels"] ? { PACKING, PANEL: panelWidth } : { PACKING };
}

/** A plain kernel's tile per invocation, and its invocations per workgroup, along rows and columns. */
export interface Tiling {
  readonly TILE_M: number;
  readonly TILE_N: number;
  readonly GROUP_M: number;
  readonly GROUP_N: number;
}

/** The kernel for every device, layout and shape. */
export function plain(
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
        // With a step of 4, B's vec4 loads have no guard at the end of k, which must then be a multiple of 4.
        VEC_B: Number(vectors.b && (step === 1 || k % 4 === 0)),
        VEC_C: Number(vectors.c),
        TRANS_C: Number(transposeC),
        ...epilogue,
        ...tileDefines(epilogue, TILE_M, TILE_N, false),
        ...storageDefines(packing),
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

/**
 * Number of row tiles that are computed before the next columns of B are read, and so share the current ones
 * in cache. In NN, a tile reads B at k separate places, which is slow, so more row tiles share them.
 */
function bandOf({ transposeA, transposeB }: MatmulAttrs): number {
  return transposeA || transposeB ? 8 : 16;
}

/** Rows of C per subgroup, and columns of C per lane. */
export type SubgroupTile = readonly [rows: number, columns: number];

/**
 * Rows that the subgroup kernel's epilogue handles at a time. A low-rank term loads its L again for each
 * strip, so its strips are longer.
 */
function stripOf({ LOW_RANK }: Defines): number {
  return LOW_RANK ? 8 : 4;
}

/** The kernel that broadcasts A within subgroups. A tile has one row per lane or, for Aᵀ, four. */
export function subgroup(
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
        ...tileDefines(epilogue, stripOf(epilogue), TILE_N, false),
        VEC_A: 1,
        VEC_B: Number(TILE_N > 1 || attrs.transposeB),
        WIDTH: Math.min(4, TILE_N),
        ...storageDefines(packing),
        TILE_M,
        TILE_N,
        STRIP: stripOf(epilogue),
        K_STEP: stepOf(attrs),
        SUBGROUP,
        LANES_A,
        PER_LANE: TILE_M / (attrs.transposeA ? 4 * LANES_A : SUBGROUP),
        BAND: bandOf(attrs),
      }),
    grid: [Math.ceil(m / TILE_M), Math.ceil(n / TILE_N / SUBGROUP), attrs.blocks],
  };
}

/** A tile in workgroup memory: its rows, columns and steps of k, then rows and columns per invocation. */
export interface WorkgroupTile {
  readonly TILE_M: number;
  readonly TILE_N: number;
  readonly TILE_K: number;
  readonly PER_M: number;
  readonly PER_N: number;
}

/** The kernel with tiles in workgroup memory. `problem` must allow vec4 loads and stores. */
export function workgroup(attrs: MatmulAttrs, { m, n, packing }: Problem, tile: WorkgroupTile): Candidate {
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
        ...storageDefines(packing),
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
