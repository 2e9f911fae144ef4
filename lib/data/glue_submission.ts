/**
 * Predictions as gluebenchmark.com takes them: a zip of `<file>.tsv`, each with the header `index, prediction` and a row
 * an example, classes written as the task's TSV files write them. (The diagnostic set AX is no task of its own.)
 */

import { writeWhole } from "../files.ts";
import type { GlueTestSet } from "./glue.ts";
import { type GlueEntry, glueEntry } from "./glue_tasks.ts";

/**
 * The text of one submission file, for class ids or scores in the order of `set.examples`; scores are clipped to 0 … 5.
 * Throws an Error that names the example for another number of predictions, a class that the task does not have, and a
 * score that is not finite.
 */
export function glueSubmission(set: GlueTestSet, predictions: readonly number[]): string {
  if (predictions.length !== set.examples.length) {
    throw new Error(`${set.file}: ${predictions.length} predictions for ${set.examples.length} examples`);
  }
  const entry = glueEntry(set.task);
  const rows = predictions.map((prediction, i) => {
    const text = entry.objective === "regression"
      ? scoreText(prediction, `${set.file}, ${set.examples[i].id}`)
      : classText(entry, prediction, `${set.file}, ${set.examples[i].id}`);
    return `${i}\t${text}\n`;
  });
  return `index\tprediction\n${rows.join("")}`;
}

/** Writes `glueSubmission` to `<folder>/<set.file>.tsv`, whole or not at all, and returns the path. */
export async function writeGlueSubmission(
  folder: string,
  set: GlueTestSet,
  predictions: readonly number[],
): Promise<string> {
  const text = glueSubmission(set, predictions);
  await Deno.mkdir(folder, { recursive: true });
  const path = `${folder}/${set.file}.tsv`;
  await writeWhole(path, text);
  return path;
}

/** Three decimals, as the benchmark's own files have. */
function scoreText(score: number, where: string): string {
  if (!Number.isFinite(score)) throw new Error(`${where}: the score is ${score}`);
  return Math.min(Math.max(score, 0), 5).toFixed(3);
}

function classText({ written }: GlueEntry, prediction: number, where: string): string {
  const text = written[prediction];
  if (text === undefined) {
    throw new Error(`${where}: no class ${prediction}; expected 0 … ${written.length - 1}`);
  }
  return text;
}
