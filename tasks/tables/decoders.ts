/** The paper's main rows and its ablation on a small decoder that answers in words. */

import { parameterChart } from "../../lib/report/chart.ts";
import { claimsText, comparisonSections } from "../../lib/report/comparison.ts";
import type { TunedTraining } from "../protocols/protocol.ts";
import { decoderTarget } from "../targets.ts";
import type { Row, Table } from "./table.ts";

/** Fresh examples, once, so that adapters of other capacity differ by more than seeds do. */
const training: TunedTraining = { epochs: 1, batchSize: 16 };

const [base, bora] = ["base", "BoRA r 8 b 16"];
const blocks = { r: 8, alpha: 16, blocks: 16 };

const rows: readonly Row[] = [
  { label: base, method: "Head only", options: {}, untrained: true },
  { label: "LoRA r 8", method: "LoRA", options: { r: 8, alpha: 16 } },
  { label: "LoRA r 32", method: "LoRA", options: { r: 32, alpha: 64 } },
  { label: "MELoRA r 8 b 16", method: "MELoRA", options: blocks },
  { label: "DoRA r 8", method: "DoRA", options: { r: 8, alpha: 16 } },
  { label: bora, method: "BoRA", options: blocks },
  { label: "without Exp", method: "BoRA without Exp", options: blocks },
  { label: "without Norm", method: "BoRA without Norm", options: blocks },
];

const others = ["LoRA r 8", "LoRA r 32", "MELoRA r 8 b 16", "without Exp", "without Norm"];

export const decodersTable: Table = {
  name: "decoders",
  title: "A decoder: the kinds of glosses, in words",
  decoder: "smollm2",
  rows: rows.map((row) => ({ ...row, target: decoderTarget })),
  reference: "LoRA r 8",
  profiles: {
    smoke: { tasks: ["kinds"], train: 32, dev: 16, training, seeds: 1 },
    default: {
      tasks: ["kinds"],
      train: 4000,
      dev: 2000,
      training,
      seeds: 3,
      moreSeeds: { "LoRA r 8": 5, [bora]: 5 },
    },
  },
  finding: {
    paper:
      "BoRA (r 8, b 16) beats LoRA of the same rank everywhere, LoRA r 32 nearly everywhere, and MELoRA, and needs Exp and Norm " +
      "(math, LLaMA-3-8B: BoRA 72.24, LoRA r 8 68.19, LoRA r 32 71.67; without Exp 68.51, without Norm 68.48).",
    here: (cells) => claimsText(others.map((other) => [bora, other]), cells, [["LoRA r 8", base]]),
  },
  sections: (cells) => [
    `An answer is the kind whose name the model finds the likeliest after “Definition: GLOSS ⏎ Kind:”; the row ${base} was not ` +
    "trained. In training the loss is that of the right name.",
    ...comparisonSections("LoRA r 8", cells),
    ...comparisonSections(bora, cells),
  ],
  charts: (cells) => [
    {
      name: "",
      caption: "score against trainable parameters",
      svg: () => parameterChart("A decoder on the kinds of glosses", cells),
    },
  ],
};
