/** Rank: the singular values of the trained updates. */

import { rankBound } from "../../lib/analysis/spectrum.ts";
import { curveChart } from "../../lib/report/chart.ts";
import { table as markdownTable } from "../../lib/report/markdown.ts";
import type { Cell } from "../../lib/report/schema.ts";
import { analysisProfiles, spectraRows } from "./profiles.ts";
import type { Table } from "./table.ts";

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The mean of `of` over the spectra of all seeds and layers. */
function meanOver(
  cells: readonly Cell[],
  label: string,
  of: (entry: NonNullable<Cell["spectra"]>[number]) => number,
) {
  return mean(cells.filter((cell) => cell.label === label).flatMap((cell) => (cell.spectra ?? []).map(of)));
}

/** min(m, n) of the largest adapted layer. */
function widthOf(cells: readonly Cell[]): number {
  return Math.max(
    ...cells.flatMap(({ spectra }) => spectra ?? []).map((entry) => entry.singularValues.length),
  );
}

/** The largest rank that the method allows for the largest adapted layer. */
function boundOf({ options }: Cell, width: number): number {
  const [r, b] = [Number(options.r ?? width), Number(options.blocks ?? 1)];
  return rankBound({ m: width, n: width, r, b });
}

/** The number of singular values above rounding in the largest layers; the maximum over seeds and layers. */
function reachedOf(cells: readonly Cell[], label: string): number {
  const width = widthOf(cells);
  const wide = cells.filter((cell) => cell.label === label).flatMap((cell) => cell.spectra ?? [])
    .filter(({ singularValues }) => singularValues.length === width);
  return Math.max(
    ...wide.map(({ singularValues }) =>
      singularValues.filter((value) => value > 1e-5 * singularValues[0]).length
    ),
  );
}

function spectrumTable(cells: readonly Cell[]): string {
  const labels = [...new Set(cells.map(({ label }) => label))];
  const width = widthOf(cells);
  const rows = labels.map((label) => {
    const bound = boundOf(cells.find((cell) => cell.label === label)!, width);
    return [
      label,
      meanOver(cells, label, ({ effectiveRank }) => effectiveRank).toFixed(1),
      meanOver(cells, label, ({ sumOfSquares }) => sumOfSquares).toExponential(2),
      String(reachedOf(cells, label)),
      String(bound),
      reachedOf(cells, label) >= bound ? "yes" : "no",
    ];
  });
  const header = [
    "method",
    "singular values > 0.005",
    "sum of squares",
    `rank of a ${width}×${width} ΔW`,
    "bound min(m, n, b·r)",
    "reached",
  ];
  return `## The updates' singular values\n\nMeans over seeds and the adapted layers; the rank counts singular values above 1e-5 of the largest.\n\n${
    markdownTable(header, rows)
  }`;
}

export const rankTable: Table = {
  name: "rank",
  title: "The rank of the trained updates",
  rows: [
    { label: "Full fine-tuning", method: "Full fine-tuning", options: {} },
    { label: "LoRA r 8", method: "LoRA", options: { r: 8, alpha: 16 } },
    { label: "LoRA r 32", method: "LoRA", options: { r: 32, alpha: 64 } },
    { label: "MELoRA r 8 b 16", method: "MELoRA", options: { r: 8, alpha: 16, blocks: 16 } },
    { label: "GraLoRA r 8 b 2", method: "GraLoRA", options: { r: 8, alpha: 16, blocks: 2 } },
    { label: "BoRA r 8 b 16", method: "BoRA", options: { r: 8, alpha: 16, blocks: 16 } },
  ],
  reference: "LoRA r 8",
  profiles: analysisProfiles,
  spectra: spectraRows,
  finding: {
    paper: "BoRA's updates have more singular values above 0.005 and a larger sum of squares than LoRA's.",
    here: (cells) => {
      const count = (label: string, own = cells) =>
        meanOver(own, label, ({ effectiveRank }) => effectiveRank);
      const squares = (label: string, own = cells) =>
        meanOver(own, label, ({ sumOfSquares }) => sumOfSquares);
      const [own, other] = ["BoRA r 8 b 16", "LoRA r 8"];
      const seeds = [...Map.groupBy(cells, ({ seed }) => seed).values()].filter((all) =>
        [own, other].every((label) => all.some((cell) => cell.label === label))
      );
      const larger =
        seeds.filter((all) => count(own, all) > count(other, all) && squares(own, all) > squares(other, all))
          .length;
      const answer = larger === seeds.length ? "agrees" : larger === 0 ? "disagrees" : "cannot tell";
      return `${answer}: both are larger with ${larger} of ${seeds.length} seeds. ${
        count(own).toFixed(1)
      } singular values above 0.005 a layer against LoRA's ${count(other).toFixed(1)}; sum of squares ${
        squares(own).toExponential(2)
      } against ${squares(other).toExponential(2)}.`;
    },
  },
  sections: (cells) => [spectrumTable(cells)],
  charts: (cells) => [{
    name: "",
    caption: "singular values of layer 1's query update, seed 0",
    svg: () =>
      curveChart(
        "Singular values of ΔW, layer.1.attention.query, seed 0",
        { x: "index", y: "singular value", series: "method", logY: true },
        cells.filter(({ seed }) => seed === 0).flatMap((cell) =>
          (cell.spectra ?? []).filter(({ path }) => path === "layer.1.attention.query").flatMap((
            { singularValues },
          ) =>
            singularValues.map((y, i) => ({ x: i + 1, y, series: cell.label })).filter(({ y }) => y > 1e-6)
          )
        ),
      ),
  }],
};
