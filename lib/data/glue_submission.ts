/**
 * Predictions in the format of gluebenchmark.com: a zip of `<file>.tsv`, each with the header
 * `index, prediction` and one row per example, with classes written as in the task's TSV files. (The
 * diagnostic set AX is not a task of its own.)
 */

import { writeWhole } from "../files.ts";
import type { GlueTestSet } from "./glue.ts";
import { type GlueEntry, glueEntry } from "./glue_tasks.ts";

/**
 * Formats one submission file. `predictions` are class ids or scores in the order of `set.examples`; scores
 * are clipped to 0 … 5.
 * @throws Error when the number of predictions is wrong, and one that names the example for a class that the
 * task does not have or a score that is not finite.
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

/**
 * Writes the result of `glueSubmission` to `<folder>/<set.file>.tsv`, completely or not at all, and returns
 * the path. Throws as `glueSubmission` does.
 */
export async function saveGlueSubmission(
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

/** Three decimals, as in the benchmark's own files. */
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
