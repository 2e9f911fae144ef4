/** Every method at r = 8, and methods with a free size also at BoRA's number of trainable parameters. */

import { parameterChart } from "../../lib/report/chart.ts";
import type { Cell } from "../../lib/report/schema.ts";
import { claimsText, compareTo } from "../../lib/report/comparison.ts";
import { meanScore } from "../../lib/report/scores.ts";
import { analysisProfiles, spectraRows } from "./profiles.ts";
import type { Row, Table } from "./table.ts";

/** s = α/r = 2 for all methods with an α; VeRA and RandLoRA keep PEFT's defaults. */
const atRank: readonly Row[] = [
  { label: "Head only", method: "Head only", options: {} },
  { label: "Full fine-tuning", method: "Full fine-tuning", options: {} },
  { label: "LoRA r 8", method: "LoRA", options: { r: 8, alpha: 16 } },
  { label: "LoRA r 32", method: "LoRA", options: { r: 32, alpha: 64 } },
  // At initialisation BoRA's V is about 2.6 times as large as LoRA's A x. This row tests whether that alone
  // explains BoRA.
  { label: "LoRA r 8, α × 2.6", method: "LoRA", options: { r: 8, alpha: 41.6 } },
  { label: "rsLoRA r 8", method: "rsLoRA", options: { r: 8, alpha: 16 } },
  { label: "DoRA r 8", method: "DoRA", options: { r: 8, alpha: 16 } },
  { label: "MELoRA r 8 b 16", method: "MELoRA", options: { r: 8, alpha: 16, blocks: 16 } },
  { label: "HydraLoRA r 8 E 3", method: "HydraLoRA", options: { r: 8, alpha: 16, experts: 3 } },
  { label: "MoELoRA r 8 E 4", method: "MoELoRA", options: { r: 8, alpha: 16, experts: 4 } },
  { label: "HiRA r 8", method: "HiRA", options: { r: 8 } },
  { label: "KronA", method: "KronA", options: { r: 8, alpha: 16 } },
  { label: "ReLoRA r 8", method: "ReLoRA", options: { r: 8, alpha: 16, every: 125, restartWarmup: 10 } },
  { label: "GraLoRA r 8 b 2", method: "GraLoRA", options: { r: 8, alpha: 16, blocks: 2 } },
  { label: "VeRA r 256", method: "VeRA", options: { r: 256 } },
  { label: "RandLoRA r 32", method: "RandLoRA", options: { r: 32, alpha: 640 } },
  { label: "BoRA r 8 b 16", method: "BoRA", options: { r: 8, alpha: 16, blocks: 16 } },
  { label: "DoRA + BoRA r 8 b 16", method: "DoRA + BoRA", options: { r: 8, alpha: 16, blocks: 16 } },
  { label: "BoRA banded Σ r 8 b 16", method: "BoRA banded Σ", options: { r: 8, alpha: 16, blocks: 16 } },
  { label: "BoRA dense Σ r 8 b 16", method: "BoRA dense Σ", options: { r: 8, alpha: 16, blocks: 16 } },
];

/**
 * As close to BoRA's 32,768 parameters (query and value of USE-lite) as each method's sizes allow, but for RandLoRA, whose r 22 has
 * 32,304 and r 21 33,852.
 */
const atParameters: readonly Row[] = [
  { label: "LoRA r 11", tunedAs: "LoRA r 8", method: "LoRA", options: { r: 11, alpha: 22 } },
  { label: "DoRA r 10", tunedAs: "DoRA r 8", method: "DoRA", options: { r: 10, alpha: 20 } },
  {
    label: "MELoRA r 11 b 16",
    tunedAs: "MELoRA r 8 b 16",
    method: "MELoRA",
    options: { r: 11, alpha: 22, blocks: 16 },
  },
  {
    label: "HydraLoRA r 5 E 3",
    tunedAs: "HydraLoRA r 8 E 3",
    method: "HydraLoRA",
    options: { r: 5, alpha: 10, experts: 3 },
  },
  { label: "HiRA r 11", tunedAs: "HiRA r 8", method: "HiRA", options: { r: 11 } },
  { label: "KronA 4×4", tunedAs: "KronA", method: "KronA", options: { r: 8, alpha: 16, factor: 4 } },
  {
    label: "GraLoRA r 10 b 2",
    tunedAs: "GraLoRA r 8 b 2",
    method: "GraLoRA",
    options: { r: 10, alpha: 20, blocks: 2 },
  },
  {
    label: "RandLoRA r 21",
    tunedAs: "RandLoRA r 32",
    method: "RandLoRA",
    options: { r: 21, alpha: 420 },
  },
];

function section(
  title: string,
  rows: readonly Row[],
  extra: readonly string[],
  reference: string,
  cells: readonly Cell[],
) {
  const labels = [...rows.map(({ label }) => label), ...extra];
  const own = labels.flatMap((label) => cells.filter((cell) => cell.label === label));
  return `## ${title}\n\n${compareTo(reference, own)}`;
}

export const methodsTable: Table = {
  name: "methods",
  title: "Every method: at equal rank, and at equal trainable parameters",
  rows: [...atRank, ...atParameters],
  reference: "LoRA r 8",
  profiles: {
    ...analysisProfiles,
    default: {
      ...analysisProfiles.default,
      moreSeeds: {
        "Head only": 5,
        "LoRA r 8": 10,
        "LoRA r 11": 5,
        "LoRA r 32": 10,
        "MELoRA r 8 b 16": 5,
        "BoRA r 8 b 16": 10,
      },
    },
  },
  spectra: spectraRows,
  finding: {
    paper:
      "BoRA (r 8, b 16) beats LoRA of the same rank everywhere, and LoRA r 32 nearly everywhere (GLUE average, " +
      "RoBERTa-base: 83.78 against 82.55 and 83.60).",
    here: (cells) => bestSentence(cells),
  },
  sections: (cells) => [
    section("At equal rank", atRank, [], "LoRA r 8", cells),
    section(
      "At BoRA's number of trainable parameters",
      atParameters,
      ["MoELoRA r 8 E 4", "BoRA r 8 b 16"],
      "LoRA r 11",
      cells,
    ),
  ],
  charts: (cells) => [
    {
      name: "",
      caption: "average score against trainable parameters",
      svg: () => parameterChart("Every method on USE-lite", cells),
    },
  ],
};

/** The best method, and BoRA compared with LoRA. */
function bestSentence(cells: readonly Cell[]): string {
  const score = (label: string) => meanScore(cells, label) ?? NaN;
  const labels = [...new Set(cells.map(({ label }) => label))].filter((label) => score(label) >= 0)
    .toSorted((a, b) => score(b) - score(a));
  const named = (label: string) => `${label} ${score(label).toFixed(1)}`;
  const [bora, lora] = ["BoRA r 8 b 16", "LoRA r 8"];
  return `${claimsText([[bora, lora], [bora, "LoRA r 32"]], cells)} BoRA is number ${
    labels.indexOf(bora) + 1
  } of ${labels.length}: ${named("BoRA r 8 b 16")} against ${named("LoRA r 8")} and ${
    named("LoRA r 8, α × 2.6")
  }; first is ${named(labels[0])}.`;
}
