/** Runs one cell of a table: attaches, fine-tunes, evaluates, and records everything that a table needs. */

import { interpretedUpdates } from "../lib/analysis/updates.ts";
import { spectrumOf } from "../lib/analysis/spectrum.ts";
import type { Adapter } from "../lib/adapters/attach.ts";
import { constantWeights } from "../lib/adapters/starting_weights.ts";
import { attachSystem } from "../lib/adapters/systems.ts";
import type { Split, Task } from "../lib/data/task.ts";
import type { Gpu } from "../lib/gpu/device.ts";
import type { Encoder, Weight } from "../lib/models/model.ts";
import type { Cell, Environment } from "../lib/report/schema.ts";
import type { Checkpointing } from "../lib/train/cell_checkpoint.ts";
import { fineTune, type FineTuned, majorityBaseline, type Progress } from "../lib/train/fine_tune.ts";
import type { FrozenWeights } from "../lib/train/weights.ts";
import type { Training } from "./protocols/protocol.ts";
import type { Row, Table } from "./tables/table.ts";

const adapterDropout = 0.05;
export const defaultTarget = ["query", "value"];

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
  readonly model: Encoder;
  readonly frozen: FrozenWeights;
  readonly environment: Environment;
  readonly profileName: string;
  /** As in `TrainOptions`; it does not change any bit of the result. */
  readonly recompute: boolean;
}

/** Attaches the row's method to the model. Throws what `attach` throws. */
export function adapterOf(model: Encoder, row: Row): Adapter {
  return attachSystem(model, row, { target: row.target ?? defaultTarget }, adapterDropout);
}

/** Trains and evaluates one cell, starting from its checkpoint if there is one. */
export async function runCell(
  run: Run,
  table: Table,
  job: Job,
  split: Split,
  progress: Progress = {},
  checkpointing?: Checkpointing,
): Promise<Cell> {
  const { gpu, model, frozen, recompute } = run;
  const { seed, training: { maxTokens, ...training } } = job;
  const adapter = adapterOf(model, job.row);
  gpu.resetPeak();
  const start = performance.now();
  const result = await fineTune(
    gpu,
    model,
    frozen,
    adapter,
    { ...job.task, maxTokens },
    split,
    { ...training, seed, recompute },
    progress,
    checkpointing,
  );
  return cellOf(run, table, job, split, adapter, result, (performance.now() - start) / 1000);
}

/** The record of a training result. */
function cellOf(
  { model, environment, profileName }: Run,
  table: Table,
  { task, row, seed, training }: Job,
  split: Split,
  adapter: Adapter,
  result: FineTuned,
  wallSeconds: number,
): Cell {
  return {
    schemaVersion: 1,
    table: table.name,
    profile: profileName,
    task: task.name,
    model: model.name,
    label: row.label,
    method: adapter.method.name,
    options: { ...adapter.options } as Cell["options"],
    target: [...row.target ?? defaultTarget],
    seed,
    learningRate: training.learningRate,
    epochs: [...result.epochs],
    best: result.best,
    last: result.last,
    headline: task.metrics[0],
    adapterParameters: adapter.trainableParameters,
    headParameters: result.headParameters,
    baseMultiplyAddsPerToken: model.multiplyAddsPerToken,
    adapterMultiplyAddsPerToken: adapter.multiplyAddsPerToken,
    trainExamples: split.train.length,
    devExamples: split.dev.length,
    majorityBaseline: majorityBaseline(task, split.dev),
    batchSize: training.batchSize,
    steps: result.steps,
    times: {
      compileSeconds: result.compileSeconds,
      trainSeconds: result.trainSeconds,
      wallSeconds,
    },
    peakBufferBytes: result.peakBufferBytes,
    ...(table.spectra ? { spectra: spectraOf(model, adapter, result.trained) } : {}),
    environment,
  };
}

/** The singular values of every adapted layer's ΔW after training. */
function spectraOf(model: Encoder, adapter: Adapter, trained: ReadonlyMap<string, Weight>) {
  const weights = new Map([...constantWeights(model, adapter), ...trained]);
  return [...interpretedUpdates(model, adapter, weights)].map(([path, { values, m, n }]) => {
    const { singularValues, effectiveRank, sumOfSquares } = spectrumOf(values, m, n);
    return { path, singularValues: [...singularValues], effectiveRank, sumOfSquares };
  });
}
