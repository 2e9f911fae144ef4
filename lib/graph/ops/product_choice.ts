/**
 * Chooses the kernel of a block product: lists the candidates for a device, the default first, and picks one.
 */

import { type DeviceTraits, sharingLanes } from "../../gpu/kernel.ts";
import type { MatmulAttrs } from "./product.ts";
import {
  type Candidate,
  plain,
  subgroup,
  type SubgroupTile,
  type Tiling,
  workgroup,
  type WorkgroupTile,
} from "./product_kernels.ts";
import { nativeF16, packings, type Problem, readsAlong } from "./product_problem.ts";

/** Up to this many rows or columns (an adapter's rank), C counts as skinny and gets tiles of its own. */
export const few = 16;

/**
 * Whether to spread the lanes over the columns of all blocks, because one block has too few columns for them.
 * On a longer k the subgroup kernel makes fewer loads, which outweighs a quarter of the lanes being idle.
 */
function isNarrow(n: number, k: number, blocks: number): boolean {
  return blocks > 1 && n < (k <= 16 ? 128 : 33);
}

/**
 * Tile and workgroup by shape, with eight lanes along the columns. A software driver spends its time in
 * loads, and a larger register tile uses each load in more products.
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
  // An adapter's dA.
  if (m <= few) return { TILE_M: m <= 4 ? 4 : 8, TILE_N: 8, GROUP_M: m <= 8 ? 1 : 2, GROUP_N: 8 };
  // An adapter's y and dx in blocks.
  if (isNarrow(n, k, blocks)) return { TILE_M: 8, TILE_N: 16, GROUP_M: 1, GROUP_N: 8 };
  if (m >= 64 && n >= 128) return { TILE_M: 16, TILE_N: 16, GROUP_M: 4, GROUP_N: 8 };
  if (m >= 64 && n >= 64) return { TILE_M: 16, TILE_N: 8, GROUP_M: 4, GROUP_N: 8 };
  return { TILE_M: 4, TILE_N: 4, GROUP_M: 4, GROUP_N: 8 };
}

/**
 * The default tile of the kernel that broadcasts A within subgroups; undefined where that kernel does not fit
 * or does not pay. On a GPU's wide subgroups its tiles would be too wide.
 */
function usualSubgroupTile(
  attrs: MatmulAttrs,
  problem: Problem,
  device: DeviceTraits,
): SubgroupTile | undefined {
  const lanes = sharingLanes(device);
  const rows = rowsPerSubgroup(attrs, problem, lanes);
  const columns = columnsPerLane(attrs, problem, lanes);
  return readsAlong(attrs, problem) && rows > 0 && columns > 0 ? [rows, columns] : undefined;
}

/**
 * Rows of C per subgroup, or 0 where the subgroup kernel does not pay. An adapter's dA and dB (computed as
 * its transpose) have r rows; for them it pays except in blocks too narrow for the lanes.
 */
function rowsPerSubgroup({ transposeA }: MatmulAttrs, { m, n }: Problem, lanes: number): number {
  if (transposeA && m <= few && n >= lanes * 8) return m <= 8 ? 8 : 16;
  if (m < 32) return 0;
  // SwiftShader has four lanes.
  return transposeA && lanes === 4 ? 16 : 32;
}

/**
 * Columns of C per lane, or 0 where the subgroup kernel does not pay. An adapter's U and dV have r columns:
 * one per lane.
 */
function columnsPerLane(
  { transposeA, transposeB, blocks }: MatmulAttrs,
  { n, k, vectors, packing, transposeC }: Problem,
  lanes: number,
): number {
  if (lanes === 0) return 0;
  if (n <= few) return n > lanes / 2 && !transposeA && packing === 0 && (vectors.b || !transposeB) ? 1 : 0;
  if (!vectors.b || !(vectors.c || transposeC) || isNarrow(n, k, blocks)) return 0;
  return n > lanes * 4 ? 8 : 4;
}

/**
 * Length of k per launch of a product whose B is read across k (NN, TN). The rows of B lie far apart, and
 * those of one tile's columns must stay in a core's cache and TLB while a band of A passes. A k of up to
 * twice this length is computed in one launch.
 */
const kChunkAcross = 512;

/**
 * The same for B in panels. There the rows that are read in succession are adjacent, so A is what must stay
 * in cache.
 */
const kChunkInPanels = 1024;

/**
 * Whether the product may be split along k into several launches. Ops that need the whole sum cannot be its
 * epilogue then.
 */
export function mayBeCut({ transposeB, activation }: MatmulAttrs, { k }: Problem): boolean {
  return !transposeB && !activation && k > 2 * kChunkAcross;
}

/**
 * Length of k per launch, the same for every kernel, so that all candidates sum in one order and give the
 * same bits.
 */
export function kChunkOf(attrs: MatmulAttrs, problem: Problem, device: DeviceTraits): number {
  if (!mayBeCut(attrs, problem) || !usualSubgroupTile(attrs, problem, device)) return problem.k;
  return problem.packing === packings["f32 in panels"] ? kChunkInPanels : kChunkAcross;
}

/**
 * The usual tiles on GPUs, within the limits of every device: 64 to 256 invocations, 8 to 16 KiB of workgroup
 * memory.
 */
const workgroupTiles: readonly WorkgroupTile[] = [
  { TILE_M: 32, TILE_N: 32, TILE_K: 32, PER_M: 4, PER_N: 4 },
  { TILE_M: 64, TILE_N: 64, TILE_K: 32, PER_M: 4, PER_N: 4 },
  { TILE_M: 128, TILE_N: 128, TILE_K: 16, PER_M: 8, PER_N: 8 },
];

/** Every kernel that computes the product on the device, the default first. */
export function candidates(attrs: MatmulAttrs, problem: Problem, device: DeviceTraits): Candidate[] {
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
 * The default tiling and alternatives. Small tiles suit GPUs, which need many invocations; narrow problems
 * need narrow workgroups. With scalar loads the shader of a large tile takes long to compile.
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

/**
 * Tiles of the subgroup kernel that are worth trying: a row for each lane to load, and as much of C as fits
 * in registers.
 */
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
 * Workgroup-memory tiles of which the problem fills at least half. None on software drivers, which have no
 * faster memory for them.
 */
function workgroupTilesOn({ software }: DeviceTraits, { m, n }: Problem): readonly WorkgroupTile[] {
  return software ? [] : workgroupTiles.filter(({ TILE_M, TILE_N }) => 2 * m >= TILE_M && 2 * n >= TILE_N);
}

/** The candidate that was chosen on the device for products like this one, else the default. */
export function chosen(attrs: MatmulAttrs, problem: Problem, device: DeviceTraits): Candidate {
  const all = candidates(attrs, problem, device);
  const name = device.choices?.get(bucketOf(attrs, problem));
  return all.find((candidate) => candidate.name === name) ?? all[0];
}

/** The key by which products share a choice: layout, storage, and extents rounded up to powers of two. */
export function bucketOf(
  { transposeA, transposeB, blocks }: MatmulAttrs,
  { m, n, k, vectors, packing, transposeC }: Problem,
): string {
  const upTo = (extent: number) => 2 ** Math.ceil(Math.log2(extent));
  const layout = `${transposeA ? "T" : "N"}${transposeB ? "T" : "N"}${transposeC ? "ᵀ" : ""}`;
  const width = Object.entries(vectors).filter(([, wide]) => wide).map(([name]) => name).join("");
  const size = [m, n, k].map(upTo).join("×");
  return `product ${layout} ${size}, ${upTo(blocks)} blocks, vec4 ${width || "none"}, packing ${packing}`;
}
