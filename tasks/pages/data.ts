/** Sizes and label balance of tasks: the record of `deno task data`, and its page. */

import * as v from "npm:valibot@1.5.0";
import { table } from "../../lib/report/markdown.ts";
import { definePage } from "../../lib/report/page.ts";

const finite = v.pipe(v.number(), v.finite());
const count = v.pipe(v.number(), v.integer(), v.minValue(0));

/** The labels of one side of a split. */
const labelsSchema = v.union([
  /** The number of examples per label, the most frequent label first. */
  v.object({ counts: v.pipe(v.array(count), v.minLength(1)) }),
  /** For numeric labels. */
  v.object({ least: finite, most: finite, mean: finite }),
]);

const taskSchema = v.object({
  name: v.string(),
  shape: v.string(),
  train: count,
  dev: count,
  labelsInTrain: labelsSchema,
  labelsInDev: labelsSchema,
  /**
   * The score on dev of always predicting the most frequent label; 0 for numbers, with which a constant does
   * not correlate.
   */
  majority: finite,
  metrics: v.array(v.string()),
});

const dataSchema = v.object({ schemaVersion: v.literal(1), tasks: v.array(taskSchema) });

export type TaskFacts = v.InferOutput<typeof taskSchema>;
export type LabelFacts = v.InferOutput<typeof labelsSchema>;

function labelsText(labels: LabelFacts): string {
  if ("mean" in labels) return `${labels.least} … ${labels.most}, mean ${labels.mean.toFixed(2)}`;
  const all = labels.counts.reduce((sum, value) => sum + value, 0);
  const shares = labels.counts.map((value) => (100 * value / all).toFixed(1));
  return shares.length > 4
    ? `${shares.length} labels, ${shares[0]} … ${shares.at(-1)} %`
    : `${shares.join(" / ")} %`;
}

function markdownOf(tasks: readonly TaskFacts[]): string {
  const header = ["task", "shape", "train", "dev", "labels in train", "labels in dev", "majority", "metrics"];
  const rows = tasks.map((task) => [
    task.name,
    task.shape,
    task.train.toLocaleString("en-US"),
    task.dev.toLocaleString("en-US"),
    labelsText(task.labelsInTrain),
    labelsText(task.labelsInDev),
    task.majority === 0 ? "0" : (100 * task.majority).toFixed(1),
    task.metrics.join(", "),
  ]);
  return `# The embedded suite

Real text with labels made by people, from npm packages; written by \`deno task data\`. No lemma or text is on both sides
of a split. Majority: the score of the commonest label on dev.

${table(header, rows)}
`;
}

export const dataPage = definePage("data", dataSchema, ({ tasks }) => ({ ".md": markdownOf(tasks) }));
