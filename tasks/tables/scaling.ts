/**
 * Scaling: BoRA's score over the number of blocks and the rank. b = 1 is LoRA with a learned scale for each
 * rank.
 */

import { curveChart } from "../../lib/report/chart.ts";
import { claimsText, comparisonSections } from "../../lib/report/comparison.ts";
import type { Cell } from "../../lib/report/schema.ts";
import { meanScore } from "../../lib/report/scores.ts";
import { analysisProfiles, spectraRows } from "./profiles.ts";
import type { Row, Table } from "./table.ts";

const ranks = [2, 4, 8, 16, 32];
/** "auto" would be 16 again: the largest common divisor ≤ ⌊√n⌋ of 256 and 512. */
const blockCounts = [1, 2, 4, 8, 16, 32, 64];
/** The rank whose rows have every number of blocks; the other ranks have LoRA and BoRA at this one. */
const [rankOfBlocks, blocksOfRanks] = [8, 16];

const loraRows: readonly Row[] = ranks.map((r) => ({
  label: `LoRA r ${r}`,
  tunedAs: "LoRA r 8",
  method: "LoRA",
  options: { r, alpha: 2 * r },
}));
const boraRows: readonly Row[] = ranks.flatMap((r) =>
  blockCounts.filter((blocks) => r === rankOfBlocks || blocks === blocksOfRanks).map((blocks) => ({
    label: `BoRA r ${r} b ${blocks}`,
    tunedAs: "BoRA r 8 b 16",
    method: "BoRA",
    options: { r, alpha: 2 * r, blocks },
  }))
);

/** Where the chart has LoRA on its logarithmic axis of blocks. */
const placeOfLora = 0.5;
const namesOfBlocks = new Map([[placeOfLora, "LoRA"], ...blockCounts.map((b) => [b, `${b}`] as const)]);

/** A grid of mean scores in percent, with r in rows and b in columns. */
function grid(cells: readonly Cell[]): string {
  const score = (label: string) => meanScore(cells, label)?.toFixed(1) ?? "–";
  const lines = ranks.map((r) =>
    `| ${r} | ${score(`LoRA r ${r}`)} | ${blockCounts.map((b) => score(`BoRA r ${r} b ${b}`)).join(" | ")} |`
  );
  return [
    "## Mean score by rank and blocks",
    "",
    '`blocks: "auto"` is 16 on every adapted layer of USE-lite; √(m + n) is 23 on the first two and 32 on the others.',
    "",
    `| r | LoRA | ${blockCounts.map((b) => `BoRA b ${b}`).join(" | ")} |`,
    `| --: | --: | ${blockCounts.map(() => "--:").join(" | ")} |`,
    ...lines,
  ].join("\n");
}

export const scalingTable: Table = {
  name: "scaling",
  title: "BoRA by number of blocks and rank",
  rows: [...loraRows, ...boraRows],
  reference: "LoRA r 8",
  profiles: analysisProfiles,
  spectra: spectraRows,
  finding: {
    paper:
      "BoRA beats LoRA already at b = 2, gains as b grows, and declines at high r once b passes √(m + n).",
    here: (cells) =>
      `${
        claimsText(
          [["BoRA r 8 b 2", "LoRA r 8"], ["BoRA r 8 b 16", "LoRA r 8"], ["BoRA r 8 b 16", "BoRA r 8 b 2"]],
          cells,
          [["BoRA r 8 b 64", "BoRA r 8 b 16"], ["BoRA r 16 b 16", "LoRA r 16"]],
        )
      } The decline at high r is not tested: r 16 and r 32 have one number of blocks.`,
  },
  sections: (cells) => [grid(cells), ...comparisonSections("LoRA r 8", cells)],
  charts: (cells) => [
    {
      name: "",
      caption: "score against blocks, a line a rank",
      svg: () =>
        curveChart(
          "BoRA by blocks and rank",
          { x: "blocks b", y: "score on dev, %", series: "rank", namesOfX: namesOfBlocks },
          cells.map((cell) => ({
            x: cell.method === "LoRA" ? placeOfLora : Number(cell.options.blocks),
            y: 100 * cell.last[cell.headline],
            series: `r ${cell.options.r}`,
          })),
        ),
    },
  ],
};
