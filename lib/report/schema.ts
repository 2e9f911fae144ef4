/** The record of one fine-tuned cell, with everything that a table or a comparison needs. */

import * as v from "npm:valibot@1.5.0";
import { digestOf } from "../digest.ts";
import { recordOf } from "../record_schema.ts";
import { packedSchema } from "./packed_numbers.ts";

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

const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "a SHA-256 in hexadecimal digits is wanted"));

/** How a cell is trained. */
const trainingSchema = v.object({
  epochs: count,
  /** Examples per step. */
  batchSize: count,
  /** Longest text in tokens. */
  maxTokens: count,
  learningRate: finite,
  warmupRatio: v.optional(finite),
  warmupSteps: v.optional(count),
});

/** A cell's own file: everything that decides its bits, and what came out. */
export const storedCellSchema = v.object({
  schemaVersion: v.literal(2),
  task: v.string(),
  model: v.string(),
  /** Digest of the values of all the model's weights. */
  modelDigest: sha256,
  /** Digest of the examples trained and evaluated on. */
  dataDigest: sha256,
  method: v.string(),
  options: recordOf(v.union([v.string(), v.number(), v.boolean()])),
  target: v.array(v.string()),
  training: trainingSchema,
  trainExamples: count,
  devExamples: count,
  /**
   * How one training is tested on several data sets, of which the first is `dev` and the further dev sets have the others' names.
   */
  tests: v.optional(
    v.object({ sets: v.array(v.string()), prompts: v.string(), scorings: v.array(v.string()) }),
  ),
  /** Digest of the bits of this row's golden steps: what code and driver compute. */
  golden: sha256,
  seed: count,
  epochs: v.array(v.object({ epoch: count, trainLoss: finite, metrics })),
  /** Metrics of the epoch with the best headline metric on dev, and of the last epoch. */
  best: metrics,
  last: metrics,
  headline: v.string(),
  adapterParameters: count,
  headParameters: count,
  baseMultiplyAddsPerToken: count,
  adapterMultiplyAddsPerToken: count,
  majorityBaseline: finite,
  steps: count,
  /** Predictions on dev after the last epoch, as class indices or values; further dev sets by their names. */
  predictions: recordOf(packedSchema),
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

/** One cell in its file: one method on one task with one seed. */
export type StoredCell = v.InferOutput<typeof storedCellSchema>;

/** A cell in a table. */
export interface Cell extends StoredCell {
  readonly table: string;
  readonly profile: string;
  /** The row's name, such as `LoRA r 8`. */
  readonly label: string;
  /** Of a cell of one of several test sets: the task that it was trained on. */
  readonly trainedOn?: string;
  /** What the predictions on each dev set should have been. */
  readonly labels: DevLabels;
}

/** Labels of the dev sets, by the sets' names; `dev` is the main one. */
export type DevLabels = Readonly<Record<string, readonly number[]>>;

/** Where a run took place. */
export type Environment = v.InferOutput<typeof environmentSchema>;

/** Everything that decides a cell's bits, except its seed. */
export type Settings = Pick<StoredCell, (typeof settingNames)[number]>;

const settingNames = [
  "task",
  "model",
  "modelDigest",
  "dataDigest",
  "method",
  "options",
  "target",
  "training",
  "trainExamples",
  "devExamples",
  "golden",
] as const;

/** The settings of a cell alone, without what came out. */
export function settingsOf(cell: Settings): Settings {
  return Object.fromEntries(settingNames.map((name) => [name, cell[name]])) as unknown as Settings;
}

/** SHA-256 of the settings, whatever the order of their options. Cells that share it differ by their seeds alone. */
export function settingsDigest(settings: Settings): Promise<string> {
  return digestOf(settingNames.map((name) => sorted(settings[name])));
}

/** The value with the keys of every object in alphabetical order, and without those that are undefined. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.entries(value).filter(([, own]) => own !== undefined).toSorted(([a], [b]) => a < b ? -1 : 1)
    .map(([key, own]) => [key, sorted(own)]);
}

/** Names a cell in logs and checkpoints: `supersense / USE-lite / LoRA / 0123456789ab / seed 0`. */
export function cellName({ task, model, method }: Settings, digest: string, seed: number): string {
  return `${task} / ${model} / ${method} / ${digest.slice(0, 12)} / seed ${seed}`;
}

/** The cells without times, memory and machine. Two runs with one seed must agree on this byte for byte. */
export function metricsOnly(cells: readonly (StoredCell & { readonly labels?: DevLabels })[]): string {
  return JSON.stringify(
    cells.map(({ times: _, environment: __, peakBufferBytes: ___, labels: ____, ...rest }) => rest),
    null,
    1,
  ) + "\n";
}
