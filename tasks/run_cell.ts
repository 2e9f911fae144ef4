/** Runs one cell of a table: attaches, fine-tunes, evaluates, and records everything that a table needs. */

import type { Adapter } from "../lib/adapters/attach.ts";
import { constantWeights } from "../lib/adapters/starting_weights.ts";
import { attachSystem } from "../lib/adapters/systems.ts";
import { spectrumOf } from "../lib/analysis/spectrum.ts";
import { interpretedUpdates } from "../lib/analysis/updates.ts";
import type { Example, Split, Task, Tests } from "../lib/data/task.ts";
import { digestOf } from "../lib/digest.ts";
import { isFile } from "../lib/files.ts";
import type { Gpu } from "../lib/gpu/device.ts";
import type { Model, Weight } from "../lib/models/model.ts";
import { packNumbers } from "../lib/report/packed_numbers.ts";
import type { Environment, Settings, StoredCell } from "../lib/report/schema.ts";
import type { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { checkpointedSeconds, type Checkpointing } from "../lib/train/cell_checkpoint.ts";
import { devSetsOf, evaluateAsIs } from "../lib/train/evaluate.ts";
import { fineTune, type FineTuned, majorityBaseline, type Progress } from "../lib/train/fine_tune.ts";
import { goldenOf } from "./golden.ts";
import { defaultTarget } from "./targets.ts";
import type { Training } from "./protocols/protocol.ts";
import type { Row } from "./tables/table.ts";

const adapterDropout = 0.05;

/** One cell to run. */
export interface Job {
  readonly task: Task;
  readonly row: Row;
  readonly seed: number;
  readonly training: Training;
}

/** What all cells of a run share. */
export interface Run {
  readonly gpu: Gpu;
  readonly model: Model;
  /** Digest of the model's fingerprints. */
  readonly modelDigest: string;
  readonly frozen: FrozenWeights;
  readonly environment: Environment;
  readonly profileName: string;
  /** As in `TrainOptions`; it does not change any bit of the result. */
  readonly recompute: boolean;
}

/** Attaches the row's method to the model. Throws what `attach` throws. */
export function adapterOf(model: Model, row: Row): Adapter {
  return attachSystem(model, row, { target: row.target ?? defaultTarget }, adapterDropout);
}

/** Everything that decides the bits of the job's cells. Runs the row's golden steps. */
export async function settingsFor(run: Run, job: Omit<Job, "seed">, split: Split): Promise<Settings> {
  const { task, row, training } = job;
  const { method, options } = adapterOf(run.model, row);
  return {
    task: task.name,
    model: run.model.name,
    modelDigest: run.modelDigest,
    dataDigest: await dataDigestOf(task, split),
    method: method.name,
    options: { ...options } as Settings["options"],
    target: [...row.target ?? defaultTarget],
    training,
    trainExamples: split.train.length,
    devExamples: split.dev.length,
    golden: await goldenOf(run, job, split),
  };
}

/** Digest of the examples of a task that are trained and evaluated on, and of how answers are chosen if the task says so. */
export async function dataDigestOf({ continuations, tests }: Task, split: Split): Promise<string> {
  const sets = [split.train, devSetsOf(split)].map(contentOf);
  return await digestOf([...sets, ...continuations ? [continuations] : [], ...tests ? [tests] : []]);
}

/** Texts or rows, and labels, without the examples' names. */
function contentOf(sets: readonly Example[] | Record<string, readonly Example[]>): unknown {
  if (Array.isArray(sets)) {
    return sets.map(({ texts, label, row }) => [texts, label, ...row ? [{ ...row, where: undefined }] : []]);
  }
  return Object.entries(sets).map(([name, examples]) => [name, contentOf(examples)]);
}

/** A cell that is ready to run: its job, its data and what decides its bits. */
export interface ReadyJob extends Job {
  readonly split: Split;
  readonly settings: Settings;
  /** Whether to compute the singular values of every ΔW after training. */
  readonly spectra: boolean;
}

/** Trains and evaluates one cell, starting from its checkpoint if there is one. */
export async function runCell(
  run: Run,
  job: ReadyJob,
  progress: Progress = {},
  checkpointing?: Checkpointing,
): Promise<StoredCell> {
  const { gpu, model, frozen, recompute } = run;
  const { seed, split, training: { maxTokens, ...training } } = job;
  const adapter = adapterOf(model, job.row);
  gpu.resetPeak();
  const start = performance.now();
  const secondsNow = () => (performance.now() - start) / 1000;
  if (job.row.untrained) return cellOf(run, job, adapter, await evaluated(run, job, adapter), secondsNow());
  const before = await secondsBefore(checkpointing);
  const result = await fineTune({
    gpu,
    model,
    frozen,
    adapter,
    task: { ...job.task, maxTokens },
    split,
    ...progress,
    ...training,
    seed,
    recompute,
    checkpointing,
  });
  return cellOf(run, job, adapter, result, before + secondsNow());
}

/** Seconds of a stopped run that are not spent again: those of the steps up to its checkpoint. */
async function secondsBefore(checkpointing: Checkpointing | undefined): Promise<number> {
  return checkpointing && await isFile(checkpointing.path)
    ? await checkpointedSeconds(checkpointing.path)
    : 0;
}

/** What a cell's record is made of. */
type Result = Omit<FineTuned, "kept">;

/** The result of a row that is not trained. */
async function evaluated(
  { gpu, model, frozen }: Run,
  { task, split, training: { batchSize } }: ReadyJob,
  adapter: Adapter,
): Promise<Result> {
  const { scores, predictions } = await evaluateAsIs({ gpu, model, adapter, frozen, task, split, batchSize });
  return {
    epochs: [],
    best: scores,
    last: scores,
    predictions,
    headParameters: 0,
    steps: 0,
    compileSeconds: 0,
    trainSeconds: 0,
    peakBufferBytes: gpu.memory.peakBytes,
    trained: new Map(),
  };
}

function testsOf({ sets, prompts, scorings }: Tests): StoredCell["tests"] {
  return { sets: [...sets], prompts: prompts.name, scorings: [...scorings] };
}

/** The record of a result. */
function cellOf(
  { model, environment }: Run,
  { task, seed, split, settings, spectra }: ReadyJob,
  adapter: Adapter,
  result: Result,
  wallSeconds: number,
): StoredCell {
  return {
    schemaVersion: 2,
    ...settings,
    seed,
    epochs: [...result.epochs],
    best: result.best,
    last: result.last,
    headline: task.metrics[0],
    adapterParameters: adapter.trainableParameters,
    headParameters: result.headParameters,
    baseMultiplyAddsPerToken: model.multiplyAddsPerToken,
    adapterMultiplyAddsPerToken: adapter.multiplyAddsPerToken,
    majorityBaseline: majorityBaseline(task, split.dev),
    ...task.tests ? { tests: testsOf(task.tests) } : {},
    steps: result.steps,
    predictions: Object.fromEntries(
      Object.entries(result.predictions).map(([name, values]) => [name, packNumbers(values)]),
    ),
    times: {
      compileSeconds: result.compileSeconds,
      trainSeconds: result.trainSeconds,
      wallSeconds,
    },
    peakBufferBytes: result.peakBufferBytes,
    ...(spectra ? { spectra: spectraOf(model, adapter, result.trained) } : {}),
    environment,
  };
}

/** The singular values of every adapted layer's ΔW after training. */
function spectraOf(model: Model, adapter: Adapter, trained: ReadonlyMap<string, Weight>) {
  const weights = new Map([...constantWeights(model, adapter), ...trained]);
  return [...interpretedUpdates(model, adapter, weights)].map(([path, { values, m, n }]) => {
    const { singularValues, effectiveRank, sumOfSquares } = spectrumOf(values, m, n);
    return { path, singularValues: [...singularValues].map(toSixDigits), effectiveRank, sumOfSquares };
  });
}

function toSixDigits(value: number): number {
  return Number(value.toPrecision(6));
}
