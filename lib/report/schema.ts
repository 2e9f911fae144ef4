/** The record of one run in `results/*.json`, with everything that a table or a comparison needs. */

import * as v from "npm:valibot@1.5.0";
import { fitting, readAnyJson, writeWhole } from "../files.ts";
import { recordOf } from "../record_schema.ts";

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const finite = v.pipe(v.number(), v.finite());
const metrics = recordOf(finite);

/** Where a run took place. */
export const environmentSchema = v.object({
  adapter: v.string(),
  /** The driver and its version (see `readDriver`). Absent if it was not found, and in older records. */
  driver: v.optional(v.string()),
  software: v.boolean(),
  runtime: v.string(),
  system: v.string(),
  cpus: count,
  /** The commit of this repository, or why it is unknown; `dirty` says whether files differed from it. */
  commit: v.string(),
  dirty: v.boolean(),
});

export const cellSchema = v.object({
  schemaVersion: v.literal(1),
  table: v.string(),
  profile: v.string(),
  task: v.string(),
  model: v.string(),
  /** The row's name in tables, such as `LoRA r 8`; the following fields say what it stands for. */
  label: v.string(),
  method: v.string(),
  options: recordOf(v.union([v.string(), v.number(), v.boolean()])),
  target: v.array(v.string()),
  seed: count,
  learningRate: finite,
  epochs: v.array(v.object({ epoch: count, trainLoss: finite, metrics })),
  /** Metrics of the epoch with the best headline metric on dev, and of the last epoch. */
  best: metrics,
  last: metrics,
  headline: v.string(),
  adapterParameters: count,
  headParameters: count,
  baseMultiplyAddsPerToken: count,
  adapterMultiplyAddsPerToken: count,
  trainExamples: count,
  devExamples: count,
  majorityBaseline: finite,
  batchSize: count,
  steps: count,
  times: v.object({ compileSeconds: finite, trainSeconds: finite, wallSeconds: finite }),
  peakBufferBytes: count,
  /** Spectra of the trained updates ΔW, one entry per adapted layer, if the table asks for them. */
  spectra: v.optional(v.array(v.object({
    path: v.string(),
    singularValues: v.array(finite),
    effectiveRank: count,
    sumOfSquares: finite,
  }))),
  environment: environmentSchema,
});

/** One cell of a table: one method on one task with one seed. */
export type Cell = v.InferOutput<typeof cellSchema>;
/** Where a run took place. */
export type Environment = v.InferOutput<typeof environmentSchema>;

/** What identifies a cell: two runs with the same key are the same experiment. */
export type CellIdentity = Pick<
  Cell,
  | "profile"
  | "task"
  | "model"
  | "label"
  | "options"
  | "target"
  | "seed"
  | "learningRate"
  | "trainExamples"
  | "devExamples"
>;

/** The key of a cell. */
export function cellKey(cell: CellIdentity): string {
  const { profile, task, model, label, options, target, seed, learningRate, trainExamples, devExamples } =
    cell;
  const settings = Object.entries(options).toSorted(([a], [b]) => a < b ? -1 : 1).map((entry) =>
    entry.join("=")
  );
  return [profile, task, model, label, settings, target, seed, learningRate, trainExamples, devExamples].join(
    " / ",
  );
}

/** Advice for a damaged results file. */
const cellsAdvice = "make it again (reproduce: run without --resume)";

/** Reads a results file. Throws an Error that names the file, the record and the wrong field. */
export async function readCells(path: string): Promise<Cell[]> {
  return fitting(path, v.array(cellSchema), await readAnyJson(path, cellsAdvice));
}

/** Writes a results file, with the cells in the given order. */
export async function writeCells(path: string, cells: readonly Cell[]): Promise<void> {
  await writeWhole(path, JSON.stringify(cells, null, 1) + "\n");
}

/** The cells without times, memory and machine. Two runs with one seed must agree on this byte for byte. */
export function metricsOnly(cells: readonly Cell[]): string {
  return JSON.stringify(
    cells.map(({ times: _, environment: __, peakBufferBytes: ___, ...rest }) => rest),
    null,
    1,
  ) + "\n";
}
