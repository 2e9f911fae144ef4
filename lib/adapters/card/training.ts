/** What a card says of an adapter's training, and of its scores. */

import { codeMarkdown, escapeMarkdown } from "../../escape_markdown.ts";
import type { Card } from "./card.ts";
import { hubMetric } from "./hub_metrics.ts";

/** Those of the options of a training (`TrainOptions`) that a card says. */
export interface CardOptions {
  /** The highest learning rate. */
  readonly learningRate: number;
  /** Passes over the examples. */
  readonly epochs: number;
  /** Examples of a batch. */
  readonly batchSize: number;
  /** Batches of an optimizer step; 1 by default. */
  readonly accumulationSteps?: number;
  /** The share of the steps in which the learning rate grows; 0 by default. */
  readonly warmupRatio?: number;
  /** The number of these steps, in place of the share. */
  readonly warmupSteps?: number;
  /** Of the data order, the dropout masks and the initial values. */
  readonly seed: number;
}

/** The epoch that weights are of (`EpochScores`). */
export interface CardEpoch {
  /** Counted from 0. */
  readonly epoch: number;
  /** Scores on dev, by name. */
  readonly metrics: Readonly<Record<string, number | undefined>>;
}

/** How an adapter was trained, and how good it is on dev. */
export interface CardTraining {
  /** What it was trained on: the name of a file or of a data set. */
  readonly data: string;
  /** The data set's id on the Hugging Face hub, if it is there. */
  readonly dataset?: string;
  /** What it was evaluated on: the name of a file, or what was held out. */
  readonly dev: string;
  /** The number of examples of both. */
  readonly examples: { readonly train: number; readonly dev: number };
  /** Of texts: whether only answers are learnt, or prompts too. */
  readonly loss?: "completion" | "all";
  /** How it was trained. */
  readonly options: CardOptions;
  /** The epoch that the weights are of (`FineTuned.kept`). */
  readonly kept: CardEpoch;
  /** How that epoch was chosen (`FineTuneOptions.keep`); the last by default. */
  readonly keep?: "best" | "last";
}

const count = (value: number) => value.toLocaleString("en-US");

/** Six decimals say all that a few hundred examples can, and never need an exponent. */
const rounded = (value: number) => Number(value.toFixed(6));

/** The scores by their names. */
function scoresOf({ kept: { metrics } }: CardTraining): [string, number][] {
  return Object.entries(metrics).flatMap(([name, score]) => score === undefined ? [] : [[name, score]]);
}

/** The fields `datasets`, `metrics` and `model-index` of the front matter; `task` is the hub's task, `name` the model's. */
export function trainingFields(
  training: CardTraining,
  name: string,
  task: string | undefined,
): Card["fields"] {
  const { dataset, dev } = training;
  const metrics = scoresOf(training).map(([score, value]) => ({
    ...hubMetric(score),
    value: rounded(value),
  }));
  // The hub refuses results that are of no task.
  const results = task && [{
    task: { type: task },
    dataset: { name: dev, type: dataset ?? "custom" },
    metrics: metrics.map(({ type, name, value, args }) => ({ type, name, value, args })),
  }];
  return {
    datasets: dataset && [dataset],
    metrics: [...new Set(metrics.map(({ type }) => type))],
    "model-index": results && [{ name, results }],
  };
}

/** The sections of the text. */
export function trainingParts(training: CardTraining): string[] {
  const { data, dev, examples, options, kept: { epoch }, keep, loss } = training;
  const { epochs, batchSize, accumulationSteps = 1, learningRate, seed } = options;
  const [headline] = scoresOf(training).map(([name]) => hubMetric(name).name);
  const learnt = loss &&
    ` (${loss === "all" ? "prompts and answers are learnt" : "only the answers are learnt"})`;
  const batches = accumulationSteps > 1 ? `, ${accumulationSteps} batches a step` : "";
  const chosen = keep === "best" ? `the best by ${headline} on dev` : "the last";
  const scores = scoresOf(training).map(([name, score]) =>
    `| ${escapeMarkdown(hubMetric(name).name)} | ${score.toFixed(4)} |`
  );
  return [
    "## Training",
    [
      `- Data: ${codeMarkdown(data)}, ${count(examples.train)} examples${learnt ?? ""}`,
      `- Epochs: ${epochs}; the weights are those of epoch ${epoch + 1}, ${chosen}`,
      `- AdamW with a learning rate of ${learningRate}, ${
        warmUpText(options)
      } and a linear decay; batches of ${batchSize}${batches}`,
      `- Seed: ${seed}`,
    ].join("\n"),
    "## Results",
    `On ${escapeMarkdown(dev)}, ${count(examples.dev)} examples, after that epoch:`,
    ["| metric | value |", "| :-- | --: |", ...scores].join("\n"),
    ...keep === "best" ? ["The epoch was chosen by these scores, so they flatter it."] : [],
    "## What was not tested",
    "Nothing but the scores above was measured, with one seed: not other data or languages, not bias or safety, and not what the base " +
    "could do before and no longer can.",
  ];
}

function warmUpText({ warmupSteps, warmupRatio = 0 }: CardOptions): string {
  if (warmupSteps !== undefined) return `a warm-up of ${warmupSteps} steps`;
  return warmupRatio === 0
    ? "no warm-up"
    : `a warm-up over ${Number((100 * warmupRatio).toFixed(2))} % of the steps`;
}

/** The section of an adapter of whose training nothing is known, or which was made from another one. */
export function untrainedParts(wasMade: boolean): string[] {
  const where = wasMade
    ? "How it was trained is in the card of the adapter that it was made from."
    : "This folder does not say how the adapter was trained.";
  return ["## Training and results", `${where} Nothing was measured when it was written.`];
}
