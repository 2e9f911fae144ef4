/** Sums over the rows of matrices on GPUs: teams of lanes add up parts of the rows, and a second launch the parts. */

import text from "../../../wgsl/column_teams.wgsl" with { type: "text" };
import { renderKernel } from "../../gpu/kernel.ts";
import type { Dispatch, Node, Tensor } from "../graph.ts";
import { scratchTensors } from "../scratch.ts";

/** TERM of `wgsl/column_teams.wgsl`. */
const terms = { values: 0, squares: 1, rmsNormWeight: 2, layerNormParameters: 3 } as const;

/** FINISH. */
const finishes = { sum: 0, inverseRoot: 1, mean: 2 } as const;

/** Sums of the rows of each of some texts. */
export interface ColumnSums {
  readonly term: keyof typeof terms;
  /** "mean" of the rows that belong to a text, of which `lengths` says how many. */
  readonly finish?: keyof typeof finishes;
  /** What the term reads, by the WGSL's variable names. */
  readonly reads: Dispatch["bindings"];
  /** [texts, cols], or as many values; of the term with two sums, two. */
  readonly outputs: readonly Tensor[];
  readonly texts: number;
  /** Rows of each text. */
  readonly rows: number;
  readonly cols: number;
  /** [texts] u32; absent where all rows belong to their text. */
  readonly lengths?: Tensor;
}

/** Lanes of a workgroup, and how many rows each of its teams wants at least. */
const [groupLanes, fewestRows] = [256, 8];

/** Workgroups that keep a GPU busy. */
const enoughGroups = 256;

/** How the columns lie in lanes and the rows in parts. */
function tilingOf({ texts, rows, cols }: ColumnSums) {
  const width = cols % 4 === 0 ? 4 : 1;
  // Few columns leave a team few lanes, and the rows more teams.
  const lanes = [16, 32].find((most) => cols <= most * width) ?? 64;
  const teams = groupLanes / lanes;
  const across = Math.ceil(cols / width / lanes);
  const parts = Math.min(Math.ceil(enoughGroups / across / texts), Math.ceil(rows / teams / fewestRows));
  const part = Math.ceil(rows / parts);
  return { width, lanes, teams, across, part, parts: Math.ceil(rows / part) };
}

/** The partial sums of the first launch; none where there is one part. */
export function columnScratch(node: Node, sums: ColumnSums): Tensor[] {
  const { parts } = tilingOf(sums);
  if (parts === 1) return [];
  return scratchTensors(node, sums.outputs.map(() => ({ shape: [sums.texts * parts, sums.cols] })));
}

function launch(
  { width, lanes, teams, across, part, parts }: ReturnType<typeof tilingOf>,
  { term, finish = "sum", reads, outputs: [out, second_out], texts, rows, cols, lengths }: ColumnSums,
  isRagged: boolean,
): Dispatch {
  const readsLengths = isRagged || finish === "mean";
  return {
    kernel: renderKernel({ name: "column_teams", text }, {
      TERM: terms[term],
      SUMS: second_out ? 2 : 1,
      FINISH: finishes[finish],
      RAGGED: Number(isRagged),
      WIDTH: width,
      LANES: lanes,
      TEAMS: teams,
    }),
    params: { rows, cols: cols / width, part },
    bindings: {
      ...reads,
      out,
      ...second_out ? { second_out } : {},
      ...readsLengths ? { lengths: lengths! } : {},
    },
    grid: [across, parts, texts],
  };
}

/** The launches that compute `sums`, for `node`. */
export function columnLaunches(node: Node, sums: ColumnSums): Dispatch[] {
  const tiling = tilingOf(sums);
  const { parts } = tiling;
  const isRagged = sums.lengths !== undefined;
  if (parts === 1) return [launch(tiling, sums, isRagged)];
  const between = columnScratch(node, sums);
  const [x, y] = between;
  const second = { ...tiling, part: parts, parts: 1 };
  return [
    launch(tiling, { ...sums, finish: "sum", outputs: between }, isRagged),
    launch(second, { ...sums, term: "values", rows: parts, reads: { x, ...y ? { y } : {} } }, false),
  ];
}
