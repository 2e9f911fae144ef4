/** What the tables on LLM-Adapters' data for decoders share: the paper's rows, and its figures beside ours. */

import { parameterChart } from "../../lib/report/chart.ts";
import { claimsText, comparisonSections } from "../../lib/report/comparison.ts";
import { table } from "../../lib/report/markdown.ts";
import type { Cell } from "../../lib/report/schema.ts";
import { meanScore } from "../../lib/report/scores.ts";
import { llmAdaptersTestedTask } from "../../lib/data/llm_adapters_tested.ts";
import { trainingPartsOf, type TrainingSetName } from "../../lib/data/llm_adapters_language.ts";
import { escapeMarkdown } from "../../lib/escape_markdown.ts";
import { decoderCutOff, decoderProtocol } from "../protocols/decoders.ts";
import type { Profile, Row, Table } from "./table.ts";

const [base, lora, bora] = ["base", "LoRA r 8", "BoRA r 8 b 16"];
const blocks = { r: 8, alpha: 16, blocks: 16 };

/** The rows of the paper's tables and of its ablation, and the model as it is. */
const rows: readonly Row[] = [
  { label: base, method: "Head only", options: {}, untrained: true },
  { label: lora, method: "LoRA", options: { r: 8, alpha: 16 } },
  { label: "LoRA r 32", method: "LoRA", options: { r: 32, alpha: 64 } },
  { label: "DoRA r 8", method: "DoRA", options: { r: 8, alpha: 16 } },
  { label: "MELoRA r 8 b 16", method: "MELoRA", options: blocks },
  { label: "HydraLoRA r 4 E 4", method: "HydraLoRA", options: { r: 4, alpha: 8, experts: 4 } },
  { label: "BoRA r 8 b 8", tunedAs: bora, method: "BoRA", options: { ...blocks, blocks: 8 } },
  { label: bora, method: "BoRA", options: blocks },
  { label: "without Exp", method: "BoRA without Exp", options: blocks },
  { label: "without Norm", method: "BoRA without Norm", options: blocks },
];

/** What the profiles for a small model share. */
export const mainRows = {
  training: { epochs: 1, batchSize: 16 },
  seeds: 2,
  rows: [base, lora, bora],
};

/** Averages over the test sets that the paper reports, by model and row. */
export type Published = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** A table of trainings on `train`, each tested on several data sets. */
export function writtenTable(
  { name, title, train, paper, published, averaged, profiles }: {
    readonly name: string;
    readonly title: string;
    readonly train: TrainingSetName;
    readonly paper: string;
    readonly published: Published;
    /** The test sets that those averages are over. */
    readonly averaged: readonly string[];
    readonly profiles: Readonly<Record<string, Omit<Profile, "tasks">>>;
  },
): Table {
  return {
    name,
    title,
    decoder: "smollm2",
    data: {
      folder: `the folder with LLM-Adapters' ${train}.json${
        trainingPartsOf[train].length > 0 ? ", or parts of it as NAME/train.json," : ""
      } and NAME/test.json`,
      setting:
        "LLM-Adapters: one training on all, or a random sample of it, tested on random samples of these",
      task: (_, folder, { sets, prompts, scorings }) =>
        llmAdaptersTestedTask({ folder, train, sets, prompts, scorings, maxTokens: decoderCutOff }),
    },
    rows: rows.map((row) => ({ ...row, target: decoderProtocol.target })),
    reference: lora,
    profiles: Object.fromEntries(
      Object.entries(profiles).map(([name, profile]) => [name, { ...profile, tasks: [train] }]),
    ),
    finding: {
      paper,
      here: (cells) => claimsText([[bora, lora], [bora, "LoRA r 32"]], cells, [[lora, base]]),
    },
    sections: (cells) => [
      scoringText(cells),
      ...comparisonSections(lora, cells),
      `## Beside the paper's averages\n\n${besidePublished(published, averaged, cells)}`,
    ],
    charts: (cells) => [
      {
        name: "",
        caption: "average score against trainable parameters",
        svg: () => parameterChart(title, cells),
      },
    ],
  };
}

/** What a score is, by how the cells were tested. */
const scoringTexts: Readonly<Record<string, string>> = {
  generation: "the share of answers that were written and are right as LLM-Adapters reads them",
  likelihood:
    "the share of records whose right answer is the likeliest of those listed, as “the correct answer is …”",
  cloze: "lm-evaluation-harness' acc_norm, where it has one, else its acc",
};

function scoringText([{ tests }]: readonly Cell[]): string {
  const { prompts, scorings: [first, ...others] } = tests!;
  const written = others.includes("generation")
    ? `, or of a data set that lists no answers ${scoringTexts.generation}`
    : "";
  return `A score is ${scoringTexts[first]}${written}${
    first === "cloze" ? "" : `, with the prompts called ${prompts}`
  }. All other metrics of ` +
    "the tests are below.";
}

/** Our averages over the sets that the paper averages over, and those of the paper's models, which have columns of their own. */
function besidePublished(published: Published, averaged: readonly string[], all: readonly Cell[]): string {
  const papers = averaged.map(escapeMarkdown);
  const cells = all.filter(({ task }) => papers.includes(task));
  const labels = [...new Set(cells.map(({ label }) => label))];
  const models = Object.keys(published);
  const body = labels.map((label) => [
    label,
    meanScore(cells, label)?.toFixed(2) ?? "–",
    ...models.map((model) => published[model][label]?.toFixed(2) ?? "–"),
  ]);
  const header = ["method", `here: ${all[0].model}`, ...models.map((model) => `paper: ${model}`)];
  return `${setsText(papers, [...new Set(all.map(({ task }) => task))])}\n\n${table(header, body)}`;
}

/** Over which of the tested sets our averages are, and whether the paper's are over the same. */
function setsText(papers: readonly string[], tested: readonly string[]): string {
  const own = papers.filter((name) => tested.includes(name));
  const more = tested.filter((name) => !papers.includes(name));
  const left = more.length === 0 ? "" : `, without ${more.join(", ")}`;
  return own.length === papers.length
    ? `All averages are over ${papers.join(", ")}${left}.`
    : `The paper's averages are over other sets, ${papers.join(", ")}; ours are over ${
      own.join(", ")
    }${left}.`;
}
