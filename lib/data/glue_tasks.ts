/**
 * A table of GLUE's nine tasks (Wang et al. 2019): the columns of the texts and the label, and the metrics.
 *
 * TSV columns are those of the benchmark's own files; names, splits and label ids on the hub are those of the
 * data set `nyu-mll/glue`. The metrics are those of GLUE's leaderboard; the first is the one that the papers
 * of LoRA and BoRA report.
 */

import type { MetricName } from "./task.ts";

/** One task of GLUE. */
export interface GlueEntry {
  /** The folder of its TSV files, and its name in tables. */
  readonly name: string;
  readonly description: string;
  readonly objective: "classification" | "regression";
  /** Names of the classes, by their ids on the hub; empty for scores. */
  readonly labels: readonly string[];
  /** The text for each class in TSV files and submissions. */
  readonly written: readonly string[];
  readonly metrics: readonly MetricName[];
  /** Default for the longest text in tokens: run_glue's 128, or 256 where many texts are longer. */
  readonly maxTokens: number;
  /** Columns of train.tsv, in order, which also apply to files without a header. */
  readonly columns: readonly string[];
  /** The columns of the texts (one or two) and of the label. */
  readonly texts: readonly string[];
  readonly label: string;
  /** The hub's folder, and the columns of the texts there. */
  readonly hub: string;
  readonly hubTexts: readonly string[];
  /** Names of the two parts of dev and test, if there are two; the first gives the headline score. */
  readonly parts?: readonly string[];
  /**
   * True when the published files contain empty texts, and rows that were split by a line break within a
   * text.
   */
  readonly damaged?: boolean;
}

const entailment = ["entailment", "not_entailment"];
const threeWays = ["entailment", "neutral", "contradiction"];
const digits = ["0", "1"];
const sentencePair = ["index", "sentence1", "sentence2", "label"];
const parses = ["sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse", "sentence2_parse"];

export const glueEntries: readonly GlueEntry[] = [
  {
    name: "CoLA",
    description: "sentence → unacceptable or acceptable English",
    objective: "classification",
    labels: ["unacceptable", "acceptable"],
    written: digits,
    metrics: ["matthews", "accuracy"],
    maxTokens: 128,
    columns: ["source", "label", "mark", "sentence"],
    texts: ["sentence"],
    label: "label",
    hub: "cola",
    hubTexts: ["sentence"],
  },
  {
    name: "SST-2",
    description: "phrase of a film review → negative or positive",
    objective: "classification",
    labels: ["negative", "positive"],
    written: digits,
    metrics: ["accuracy"],
    maxTokens: 128,
    columns: ["sentence", "label"],
    texts: ["sentence"],
    label: "label",
    hub: "sst2",
    hubTexts: ["sentence"],
  },
  {
    name: "MRPC",
    description: "two sentences from the news → paraphrases or not",
    objective: "classification",
    labels: ["not_equivalent", "equivalent"],
    written: digits,
    metrics: ["accuracy", "f1"],
    maxTokens: 128,
    columns: ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"],
    texts: ["#1 String", "#2 String"],
    label: "Quality",
    hub: "mrpc",
    hubTexts: ["sentence1", "sentence2"],
  },
  {
    name: "QQP",
    description: "two questions on Quora → duplicates or not",
    objective: "classification",
    labels: ["not_duplicate", "duplicate"],
    written: digits,
    metrics: ["accuracy", "f1"],
    maxTokens: 128,
    columns: ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"],
    texts: ["question1", "question2"],
    label: "is_duplicate",
    hub: "qqp",
    hubTexts: ["question1", "question2"],
    damaged: true,
  },
  {
    name: "STS-B",
    description: "two sentences → similarity of meaning, 0 … 5",
    objective: "regression",
    labels: [],
    written: [],
    metrics: ["pearson", "spearman"],
    maxTokens: 128,
    columns: [
      ...["index", "genre", "filename", "year", "old_index", "source1", "source2"],
      ...["sentence1", "sentence2", "score"],
    ],
    texts: ["sentence1", "sentence2"],
    label: "score",
    hub: "stsb",
    hubTexts: ["sentence1", "sentence2"],
  },
  {
    name: "MNLI",
    description: "premise and hypothesis → entailment, neutral or contradiction",
    objective: "classification",
    labels: threeWays,
    written: threeWays,
    metrics: ["accuracy"],
    maxTokens: 128,
    // The dev files have label1 … label5 before gold_label, so they need a header.
    columns: [
      ...["index", "promptID", "pairID", "genre", ...parses],
      ...["sentence1", "sentence2", "label1", "gold_label"],
    ],
    texts: ["sentence1", "sentence2"],
    label: "gold_label",
    hub: "mnli",
    hubTexts: ["premise", "hypothesis"],
    parts: ["matched", "mismatched"],
  },
  {
    name: "QNLI",
    description: "question and sentence of Wikipedia → the sentence holds the answer or not",
    objective: "classification",
    labels: entailment,
    written: entailment,
    metrics: ["accuracy"],
    maxTokens: 128,
    columns: ["index", "question", "sentence", "label"],
    texts: ["question", "sentence"],
    label: "label",
    hub: "qnli",
    hubTexts: ["question", "sentence"],
  },
  {
    name: "RTE",
    description: "text and hypothesis → entailment or not",
    objective: "classification",
    labels: entailment,
    written: entailment,
    metrics: ["accuracy"],
    maxTokens: 256,
    columns: sentencePair,
    texts: ["sentence1", "sentence2"],
    label: "label",
    hub: "rte",
    hubTexts: ["sentence1", "sentence2"],
  },
  {
    name: "WNLI",
    description: "sentence and the same with a pronoun resolved → entailment or not",
    objective: "classification",
    labels: ["not_entailment", "entailment"],
    written: digits,
    metrics: ["accuracy"],
    maxTokens: 128,
    columns: sentencePair,
    texts: ["sentence1", "sentence2"],
    label: "label",
    hub: "wnli",
    hubTexts: ["sentence1", "sentence2"],
  },
];

/** The entry with this name, spelled as in `glueEntries`. Throws an Error that lists the names. */
export function glueEntry(name: string): GlueEntry {
  const found = glueEntries.find((entry) => entry.name === name);
  if (!found) {
    throw new Error(
      `GLUE has no task "${name}"; it has ${glueEntries.map((entry) => entry.name).join(", ")}`,
    );
  }
  return found;
}
