/** The kernel for dense products with too few tiles for a GPU: parts of k side by side, and a second launch that adds them up. */

import { type Candidate, type Tiled, workgroupCandidate, type WorkgroupTile } from "./kernels.ts";
import type { Problem } from "./problem.ts";
import { joined } from "./skinny_kernels.ts";

/** Values of k in a part at least: what the second stage reads is small then beside A and B. */
const leastLength = 128;

/** Parts of k for so many workgroups in all, fewer where k is short. */
function partsOf({ m, n, k }: Problem, { rows, columns, depth }: WorkgroupTile, enough: number): number {
  const tiles = Math.ceil(m / rows) * Math.ceil(n / columns);
  const parts = Math.max(1, Math.min(Math.ceil(enough / tiles), Math.floor(k / leastLength)));
  return Math.ceil(k / (Math.ceil(k / parts / depth) * depth));
}

/** Tiles in workgroup memory, with k in as many parts as make `enough` workgroups. */
export function workgroupInParts(tile: WorkgroupTile, enough: number): Tiled {
  return {
    kernel: "workgroup",
    reorders: true,
    on(problem, device): Candidate {
      const parts = partsOf(problem, tile, enough);
      const one = workgroupCandidate(tile, problem, device, parts);
      return parts > 1 ? { ...one, joined: joined(problem, parts) } : one;
    },
  };
}
