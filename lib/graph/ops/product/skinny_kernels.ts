/** The kernels for products with few rows or few columns on GPUs, each with a tile by shape. */

import lanesText from "../../../../wgsl/matmul_lanes.wgsl" with { type: "text" };
import sumText from "../../../../wgsl/matmul_sum.wgsl" with { type: "text" };
import teamsText from "../../../../wgsl/matmul_teams.wgsl" with { type: "text" };
import { type DeviceTraits, type Kernel, renderKernel, sharingLanes } from "../../../gpu/kernel.ts";
import type { Defines } from "../../../gpu/render.ts";
import { storageNamed } from "../../storages/registry.ts";
import { noEpilogue } from "./epilogue.ts";
import { type Candidate, type Joined, renderProduct, type Tiled } from "./kernels.ts";
import { few, type Problem } from "./problem.ts";

/** Throws an Error for a term that only the kernels of dense layers add: `merge.ts` merges it with nothing smaller. */
function refuseLowRank({ LOW_RANK }: Defines): void {
  if (LOW_RANK) throw new Error("a product with few rows or columns has no low-rank term");
}

/** `b.load` of kernels that do not read B by vec4s. */
const noLoad = "  return vec4f();";

/** How a lane reads what it takes of B at a time. */
export interface LaneReading {
  /** Vec4s of k: those of 16 bytes of B where it lies along k, else one. */
  readonly quads: number;
  /** The value of RUN in the kernel. */
  readonly kind: 0 | 1 | 2;
  /** The texts by which they are read at once. */
  readonly parts?: Readonly<Record<string, string>>;
}

/** How a lane reads B, whose buffer is called `name` in WGSL and bound at `binding`. */
export function laneReading(
  { storage, reading, transposeB, k }: Problem,
  name = "b",
  binding = 2,
): LaneReading {
  const { run } = reading;
  if (!transposeB) return { quads: 1, kind: 0 };
  if (run && k % (4 * run.quads) === 0) {
    const parts = {
      [`${name}.bindings`]: run.bindings({ name, binding, scalesBinding: 6 }),
      [`${name}.load`]: noLoad,
      [`${name}.run`]: run.load(name),
      [`${name}.integers`]: run.integers,
    };
    return { quads: run.quads, kind: run.hasStart ? 2 : 1, parts };
  }
  const most = Math.ceil(32 / storageNamed(storage).bits);
  return { quads: [8, 4, 2].find((length) => length <= most && k % (4 * length) === 0) ?? 1, kind: 0 };
}

/** Lanes for sums of `runs` runs: as many as there is work for, up to 32, with a quarter of them idle at most. */
export function lanesOf(runs: number): number {
  return [32, 16, 8, 4, 2].find((lanes) => Math.ceil(runs / lanes) * lanes * 3 <= runs * 4) ?? 1;
}

/** `extent` in equal tiles of at most `most`. */
export function evenTile(extent: number, most: number): number {
  return Math.ceil(extent / Math.ceil(extent / most));
}

/**
 * The rows and columns of C per team of lanes: all of the few, and of the others as many as leave a GPU 16,384
 * invocations, up to 4.
 */
function tileOfTeam({ m, n, blocks, transposeB }: Problem, lanes: number): [rows: number, columns: number] {
  const invocations = (others: number) => (tile: number) => others / tile * lanes * blocks >= 16384;
  if (n <= few) {
    const columns = transposeB ? evenTile(n, 8) : n;
    return [[4, 2].filter((rows) => rows * columns <= 32).find(invocations(m)) ?? 1, columns];
  }
  const rows = evenTile(m, 8);
  return [rows, [4, 2].filter((columns) => rows * columns <= 16).find(invocations(n)) ?? 1];
}

/** The part of C that a team owns, and the teams of a workgroup. */
export interface LaneTile {
  readonly TILE_M: number;
  readonly TILE_N: number;
  readonly LANES: number;
  readonly TEAMS_M: number;
  readonly TEAMS_N: number;
  /** Lanes of a subgroup that load A together; 0 where each loads what it needs. */
  readonly SHARE: number;
}

/** A kernel whose lanes share k, or are each alone with it. */
export interface LaneTiled extends Tiled {
  tileOf(problem: Problem, device: DeviceTraits): LaneTile;
}

/** Whether a kernel is one of those. */
export function hasLanes(use: Tiled): use is LaneTiled {
  return "tileOf" in use;
}

/** Renders the kernel whose lanes share k. */
function renderLanes(problem: Problem, epilogue: Defines, tile: LaneTile): Kernel {
  refuseLowRank(epilogue);
  const { quads: QUADS, kind: RUN, parts } = laneReading(problem);
  const own = { VEC_A: 1, VEC_B: 1, VEC_C: 0, TRANS_C: 0, ...epilogue, WIDTH: 1, ...tile, QUADS, RUN };
  return renderProduct("matmul_lanes", lanesText, problem, own, parts);
}

/** The kernel's candidate of a tile. */
function laneCandidate(name: string, problem: Problem, tile: LaneTile): Candidate {
  const { m, n, blocks } = problem;
  const { TILE_M, TILE_N, TEAMS_M, TEAMS_N } = tile;
  return {
    name,
    kernel: (epilogue) => renderLanes(problem, epilogue, tile),
    grid: [Math.ceil(n / TILE_N / TEAMS_N), Math.ceil(m / TILE_M / TEAMS_M), blocks],
  };
}

function sharedTile(problem: Problem): LaneTile {
  const LANES = lanesOf(problem.k / (4 * laneReading(problem).quads));
  const [TILE_M, TILE_N] = tileOfTeam(problem, LANES);
  const teams = (TILE_M * TILE_N > 16 ? 64 : 128) / LANES;
  const [TEAMS_M, TEAMS_N] = problem.n <= few ? [teams, 1] : [1, teams];
  return { TILE_M, TILE_N, LANES, TEAMS_M, TEAMS_N, SHARE: 0 };
}

/** The kernel whose lanes share k, for few rows or few columns of C, A as it lies, and vec4 loads of A and B. */
export const lanes: LaneTiled = {
  kernel: "lanes",
  reorders: true,
  tileOf: sharedTile,
  on(problem: Problem): Candidate {
    const tile = sharedTile(problem);
    return laneCandidate(`lanes ${tile.TILE_M}×${tile.TILE_N} by ${tile.LANES}`, problem, tile);
  },
};

/**
 * The same kernel for software drivers, where lanes that share k only cost: each sums all of it, for `columns` of C. A
 * packed row is unpacked run by run, once for all rows of A, and A's runs are loaded by a subgroup's lanes together.
 */
export function alone(columns: number, across: number): LaneTiled {
  const tileOf = ({ m }: Problem, device: DeviceTraits): LaneTile => (
    { TILE_M: m, TILE_N: columns, LANES: 1, TEAMS_M: 1, TEAMS_N: across, SHARE: sharingLanes(device) }
  );
  return {
    kernel: "alone",
    reorders: true,
    tileOf,
    on: (problem, device) =>
      laneCandidate(`alone ${problem.m}×${columns} in 1×${across}`, problem, tileOf(problem, device)),
  };
}

/**
 * Parts of k for `groups` workgroups of 256 invocations each: as many as give a GPU 49,152 invocations, but 64 values of k
 * a part, or 32 where there would be fewer than 10,240. What the second stage reads is small then beside B.
 */
function partsOf({ k }: Problem, groups: number): number {
  const forInvocations = (count: number) => Math.ceil(count / 256 / groups);
  const most = Math.max(Math.floor(k / 64), Math.min(Math.floor(k / 32), forInvocations(10240)));
  const parts = Math.max(1, Math.min(forInvocations(49152), most));
  const length = Math.ceil(k / parts / 16) * 16;
  return Math.ceil(k / length);
}

/** Renders the kernel that adds up parts in order. */
export function renderSum(TRANS_C: number, epilogue: Defines): Kernel {
  const parts = { "b.enable": "", "b.bindings": "", "b.load": noLoad };
  const own = { VEC_A: 0, VEC_B: 1, VEC_C: 0, TRANS_C, ...epilogue, WIDTH: 1 };
  return renderKernel({ name: "matmul_sum", text: sumText, parts }, own);
}

/** Adds up `parts` sums of a product. */
export function joined({ m, n, blocks, transposeC }: Problem, parts: number): Joined {
  return {
    parts,
    kernel: (epilogue) => renderSum(Number(transposeC), epilogue),
    grid: [Math.ceil(n * blocks / 64), m, 1],
  };
}

/** The kernel whose teams of lanes share k, for few rows of C, B as it lies, and vec4 loads of B. */
export const teams: Tiled = {
  kernel: "teams",
  reorders: true,
  on(problem: Problem): Candidate {
    const { m, n, blocks, transposeA, vectors, transposeC } = problem;
    const rows = transposeA && vectors.a ? (m % 8 === 0 ? 8 : 4) : evenTile(m, 8);
    const [across, down] = [Math.ceil(n / 4 * blocks / 64), Math.ceil(m / rows)];
    const parts = partsOf(problem, across * down);
    return {
      name: `teams ${rows}×256${parts > 1 ? `, k in ${parts} parts` : ""}`,
      kernel: (epilogue) => {
        refuseLowRank(epilogue);
        return renderProduct("matmul_teams", teamsText, problem, {
          VEC_A: Number(vectors.a),
          VEC_B: 1,
          VEC_C: Number(parts > 1 || vectors.c),
          TRANS_C: Number(transposeC),
          ...parts > 1 ? noEpilogue : epilogue,
          WIDTH: 4,
          TILE_M: rows,
          TEAMS: 4,
          K_STEP: vectors.a && !transposeA ? 4 : 1,
          PARTS: Number(parts > 1),
        });
      },
      grid: [across, parts, down],
      ...parts > 1 ? { joined: joined(problem, parts) } : {},
    };
  },
};
