/**
 * Which kernel computes a product: one table for software drivers, one for GPUs. A product's default is the first row that
 * fits it, and the autotuner may take any row that fits and gives the same bits: those of sums in order of k. A kernel that
 * sums in another order is taken by default or not at all.
 */

import { type DeviceTraits, sharingLanes } from "../../../gpu/kernel.ts";
import { plain, subgroup, type Tiled, workgroup } from "./kernels.ts";
import { workgroupInParts } from "./parts_kernel.ts";
import { few, type Problem, readsAlong } from "./problem.ts";
import { alone, lanes, teams } from "./skinny_kernels.ts";

/** What the tables ask about a product and a device. */
export interface Facts extends Problem {
  /** Lanes per subgroup; 0 if they differ or are unknown. */
  readonly lanes: number;
  /** Whether lanes should share loads by broadcasts (see `sharingLanes`), and A can be read for it. */
  readonly shares: boolean;
  /** Whether A can be read as the subgroup and workgroup kernels read it, and B and C as vec4. */
  readonly isWide: boolean;
  /**
   * Whether to spread the lanes over the columns of all blocks, because one block has too few columns for them. On a
   * longer k the subgroup kernel makes fewer loads, which outweighs a quarter of the lanes being idle.
   */
  readonly isNarrow: boolean;
}

/** The facts about `problem` on `device`. */
function factsOf(problem: Problem, device: DeviceTraits): Facts {
  const { n, k, blocks, vectors, transposeC } = problem;
  const along = readsAlong(problem);
  return {
    ...problem,
    lanes: device.subgroupSize,
    shares: sharingLanes(device) > 0 && along,
    isWide: along && vectors.b && (vectors.c || transposeC),
    isNarrow: blocks > 1 && n < (k <= 16 ? 128 : 33),
  };
}

/** A row of a table. */
export interface Rule {
  /** The products that it is made for. */
  readonly of: string;
  readonly use: Tiled;
  /** Rows of C, from and to; any number if absent. */
  readonly m?: readonly [number, number];
  /** Columns of C. */
  readonly n?: readonly [number, number];
  /** What else must hold. */
  readonly when?: (facts: Facts) => boolean;
}

const most = Infinity;
const U = "few columns, as an adapter's U and dV";
const dA = "few rows, as an adapter's dA";
const dense = "a dense layer";

/**
 * For software drivers, by the kernel that every device runs. They spend their time in loads, and a larger register tile
 * uses each load in more products.
 */
const registerTiles: readonly Rule[] = [
  { of: U, use: plain(8, 4, 8, 1), m: [256, most], n: [1, 4] },
  { of: U, use: plain(4, 4, 8, 1), m: [1, 255], n: [1, 4] },
  { of: U, use: plain(8, 4, 8, 2), m: [256, most], n: [5, 8] },
  { of: U, use: plain(4, 4, 8, 2), m: [1, 255], n: [5, 8] },
  { of: U, use: plain(8, 4, 8, 4), m: [256, most], n: [9, few] },
  { of: U, use: plain(4, 4, 8, 4), m: [1, 255], n: [9, few] },
  { of: dA, use: plain(4, 8, 1, 8), m: [1, 4], n: [few + 1, most] },
  { of: dA, use: plain(8, 8, 1, 8), m: [5, 8], n: [few + 1, most] },
  { of: dA, use: plain(8, 8, 2, 8), m: [9, few], n: [few + 1, most] },
  {
    of: "narrow blocks, as an adapter's y and dx",
    use: plain(8, 16, 1, 8),
    m: [few + 1, most],
    n: [few + 1, most],
    when: ({ isNarrow }) => isNarrow,
  },
  { of: dense, use: plain(16, 16, 4, 8), m: [64, most], n: [128, most] },
  { of: dense, use: plain(16, 8, 4, 8), m: [64, most], n: [64, most] },
  { of: "any", use: plain(4, 4, 4, 8), m: [few + 1, most], n: [few + 1, most] },
  // From here on for the autotuner.
  { of: U, use: plain(4, 4, 64, 1), n: [1, 4] },
  { of: U, use: plain(8, 4, 32, 1), n: [1, 4] },
  { of: U, use: plain(16, 4, 8, 1), n: [1, 4] },
  { of: U, use: plain(4, 4, 32, 2), n: [5, 8] },
  { of: U, use: plain(8, 4, 16, 2), n: [5, 8] },
  { of: U, use: plain(16, 4, 8, 2), n: [5, 8] },
  { of: U, use: plain(4, 4, 16, 4), n: [9, few] },
  { of: U, use: plain(8, 4, 8, 4), n: [9, few] },
  { of: U, use: plain(16, 4, 8, 4), n: [9, few] },
  { of: dA, use: plain(4, 4, 1, 64), m: [1, 8], n: [few + 1, most] },
  { of: dA, use: plain(4, 8, 1, 32), m: [1, 8], n: [few + 1, most] },
  { of: dA, use: plain(8, 16, 1, 8), m: [1, 8], n: [few + 1, most] },
  { of: dA, use: plain(4, 4, 2, 32), m: [9, few], n: [few + 1, most] },
  { of: dA, use: plain(4, 8, 2, 16), m: [9, few], n: [few + 1, most] },
  { of: dA, use: plain(8, 16, 2, 8), m: [9, few], n: [few + 1, most] },
  { of: dense, use: plain(4, 4, 8, 16), m: [few + 1, most], n: [few + 1, most] },
  { of: dense, use: plain(8, 8, 8, 8), m: [few + 1, most], n: [few + 1, most] },
];

/** For the autotuner of a device with subgroups of 4 to 16 lanes: a row for each lane to load. */
const narrowSubgroups: readonly Rule[] = [
  {
    of: "any",
    use: subgroup(16, 8),
    when: ({ shares, isWide, m, transposeA }) => shares && isWide && (m >= 8 || transposeA),
  },
  { of: "any", use: subgroup(32, 8), m: [16, most], when: ({ shares, isWide }) => shares && isWide },
  { of: "any", use: subgroup(64, 4), m: [32, most], when: ({ shares, isWide }) => shares && isWide },
];

/** Whether a block can be read and written as vec4, and has columns for all lanes of a subgroup that shares loads. */
const fills = ({ shares, isWide, isNarrow }: Facts) => shares && isWide && !isNarrow;

/** Whether lanes can share k. */
const sharesK = ({ transposeA, vectors }: Facts) => !transposeA && vectors.a && vectors.b;

/** Whether whole runs of B can be read at once. */
const hasRuns = ({ reading: { run }, k }: Facts) => run !== undefined && k % (4 * run.quads) === 0;

const decoding = "few rows, as in decoding";

/** Software drivers, whose lanes share each load of A. */
const software: readonly Rule[] = [
  {
    of: decoding,
    use: alone(4, 16),
    m: [1, 2],
    n: [few + 1, most],
    when: (facts) => sharesK(facts) && facts.transposeB && hasRuns(facts),
  },
  {
    of: dA,
    use: subgroup(8, 8),
    m: [1, 8],
    when: (facts) => fills(facts) && facts.transposeA && facts.n >= 8 * facts.lanes,
  },
  {
    of: dA,
    use: subgroup(16, 8),
    m: [9, few],
    when: (facts) => fills(facts) && facts.transposeA && facts.n >= 8 * facts.lanes,
  },
  {
    of: U,
    use: subgroup(32, 1),
    m: [32, most],
    n: [1, few],
    when: ({ shares, transposeA, transposeB, storage, vectors, n, lanes }) =>
      shares && !transposeA && n > lanes / 2 && storage === "f32" && (vectors.b || !transposeB),
  },
  {
    // SwiftShader has four lanes.
    of: "a dense layer's dW on four lanes",
    use: subgroup(16, 8),
    m: [32, most],
    n: [few + 1, most],
    when: (facts) => fills(facts) && facts.transposeA && facts.lanes === 4,
  },
  {
    of: dense,
    use: subgroup(32, 8),
    m: [32, most],
    n: [few + 1, most],
    when: (facts) => fills(facts) && facts.n > 4 * facts.lanes,
  },
  {
    of: "a dense layer with few columns",
    use: subgroup(32, 4),
    m: [32, most],
    n: [few + 1, most],
    when: (facts) => fills(facts) && facts.n <= 4 * facts.lanes,
  },
  ...registerTiles,
  ...narrowSubgroups,
];

/** Workgroups that a GPU wants at least, so that all its cores have some. */
const enoughGroups = 256;

/** Whether tiles of `rows`×`columns` make enough workgroups. */
const occupies = (rows: number, columns: number) => ({ m, n, blocks }: Facts) =>
  Math.ceil(m / rows) * Math.ceil(n / columns) * blocks >= enoughGroups;

const large = workgroup(128, 64, 16, 8, 4);
const middle = workgroup(64, 64, 16, 4, 4);
const small = workgroup(32, 32, 16, 4, 4);
const smallInParts = workgroupInParts({ rows: 32, columns: 32, depth: 16, down: 4, across: 4 }, enoughGroups);

/**
 * GPUs. Tiles in workgroup memory, the largest of which there are enough; 8×4 outputs an invocation are the most that
 * the compilers of all makers keep in registers, beside what they are computed from.
 */
const hardware: readonly Rule[] = [
  { of: U, use: lanes, n: [1, few], when: sharesK },
  {
    of: decoding,
    use: lanes,
    m: [1, few],
    when: (facts) => sharesK(facts) && facts.transposeB,
  },
  { of: dA, use: teams, m: [1, few], when: ({ transposeB, vectors }) => !transposeB && vectors.b },
  { of: U, use: plain(4, 4, 64, 1), n: [1, 4] },
  { of: U, use: plain(4, 4, 32, 2), n: [5, 8] },
  { of: U, use: plain(4, 4, 16, 4), n: [9, few] },
  { of: dA, use: plain(4, 4, 1, 64), m: [1, 8] },
  { of: dA, use: plain(4, 4, 2, 32), m: [9, few] },
  { of: "a large dense layer", use: large, when: occupies(128, 64) },
  { of: "a middling dense layer", use: middle, when: occupies(64, 64) },
  {
    of: "a dense layer of few tiles",
    use: smallInParts,
    when: (facts) => facts.blocks === 1 && facts.k >= 256 && !occupies(32, 32)(facts),
  },
  { of: dense, use: small },
  // From here on for the autotuner.
  { of: dense, use: middle, m: [33, most], n: [33, most] },
  { of: dense, use: large, m: [65, most], n: [33, most] },
  { of: dense, use: workgroup(128, 128, 8, 8, 8), m: [65, most], n: [65, most] },
  ...narrowSubgroups,
  {
    of: "any",
    use: subgroup(32, 4),
    m: [16, most],
    when: ({ isWide, lanes }) => isWide && lanes > 16 && lanes <= 32,
  },
];

/** The table for a device. */
function tableOf({ software: isSoftware }: DeviceTraits): readonly Rule[] {
  return isSoftware ? software : hardware;
}

function within(extent: number, [from, to]: readonly [number, number] = [1, most]): boolean {
  return from <= extent && extent <= to;
}

/** Whether a row fits a problem on a device. */
function fitting(problem: Problem, device: DeviceTraits): (rule: Rule) => boolean {
  const facts = factsOf(problem, device);
  return ({ m, n, when }) => within(facts.m, m) && within(facts.n, n) && (when?.(facts) ?? true);
}

/** Whether a kernel rounds its operands to f16: tiles in workgroup memory hold them as the device asks. */
function rounds({ kernel }: Tiled, { halfOperands }: DeviceTraits): boolean {
  return kernel === "workgroup" && halfOperands === true;
}

/** The rows of the device's table that fit and give the default's bits, the default first. */
export function rulesFor(problem: Problem, device: DeviceTraits): Rule[] {
  const [first, ...others] = tableOf(device).filter(fitting(problem, device));
  if (first.use.reorders) return [first];
  const hasItsBits = ({ use }: Rule) => !use.reorders && rounds(use, device) === rounds(first.use, device);
  return [first, ...others.filter(hasItsBits)];
}

/** The first row that fits; each table has one for every problem. */
export function defaultRule(problem: Problem, device: DeviceTraits): Rule {
  return tableOf(device).find(fitting(problem, device))!;
}

/**
 * Length of k per launch of a product whose B is read across k (NN, TN), by software's subgroup kernel. The rows of B lie
 * far apart, and those of one tile's columns must stay in a core's cache and TLB while a band of A passes. In pieces such
 * as panels, the rows that are read in succession are adjacent, so A is what must stay in cache.
 */
export const pieceOfK = { rows: 512, inPieces: 1024 } as const;
