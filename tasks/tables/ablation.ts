/**
 * The effect of Exp and Norm: BoRA without either (the paper's ablation), and with other bounds for σ's
 * initial values.
 */

import { barChart } from "../../lib/report/chart.ts";
import { claimsText } from "../../lib/report/comparison.ts";
import { analysisProfiles, spectraRows } from "./profiles.ts";
import type { Table } from "./table.ts";

const blocks = { r: 8, alpha: 16, blocks: 16 };

export const ablationTable: Table = {
  name: "ablation",
  title: "BoRA's ablations: Exp, Norm and the start of σ",
  rows: [
    { label: "LoRA r 8", method: "LoRA", options: { r: 8, alpha: 16 } },
    { label: "BoRA r 8 b 16", method: "BoRA", options: blocks },
    { label: "without Exp", method: "BoRA without Exp", options: blocks },
    { label: "without Norm", method: "BoRA without Norm", options: blocks },
    { label: "σ's fan r", tunedAs: "BoRA r 8 b 16", method: "BoRA", options: { ...blocks, sigmaFan: "r" } },
    { label: "σ's fan n", tunedAs: "BoRA r 8 b 16", method: "BoRA", options: { ...blocks, sigmaFan: "n" } },
  ],
  reference: "BoRA r 8 b 16",
  profiles: {
    ...analysisProfiles,
    default: {
      ...analysisProfiles.default,
      moreSeeds: { "LoRA r 8": 10, "BoRA r 8 b 16": 10, "without Exp": 5, "without Norm": 5 },
    },
  },
  spectra: spectraRows,
  finding: {
    paper:
      "Both parts are needed: on math, BoRA / without Exp / without Norm score 73.10 / 71.77 / 72.15 (Gemma-7B), " +
      "72.24 / 68.51 / 68.48 (LLaMA-3-8B), 80.60 / 79.79 / 79.26 (Qwen2.5-14B).",
    here: (cells) => claimsText([["BoRA r 8 b 16", "without Exp"], ["BoRA r 8 b 16", "without Norm"]], cells),
  },
  charts: (cells) => [
    { name: "", caption: "score by ablation", svg: () => barChart("Ablations of BoRA", cells) },
  ],
};
