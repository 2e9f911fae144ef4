/**
 * A long run: trainers with several batch sizes take turns, and the process's state is sampled after every
 * turn.
 */

import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Adapter } from "../lib/adapters/attach.ts";
import type { Gpu } from "../lib/gpu/device.ts";
import type { Model } from "../lib/models/model.ts";
import type { Encoded, Objective } from "../lib/objectives/objective.ts";
import { processStatus } from "../lib/report/process_status.ts";
import { makeBatches } from "../lib/run/batches.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { Trainer } from "../lib/train/trainer.ts";

/** What to train. */
export interface Soaked {
  readonly model: Model;
  readonly adapter: Adapter;
  readonly objective: Objective;
  /** Examples of many lengths: each batch is padded to its own longest text. */
  readonly examples: readonly Encoded[];
}

/** How to train. */
export interface SoakPlan {
  /** Batch sizes of the trainers. Each trainer has its own programs for every length. */
  readonly batchSizes: readonly number[];
  /** Steps per turn of a trainer. */
  readonly stepsATurn: number;
  readonly turnsEach: number;
}

/** The process's memory and handles after a turn. */
export interface Sample {
  /** Steps of all trainers so far. */
  readonly step: number;
  /** Seconds since the first turn began. */
  readonly seconds: number;
  readonly residentBytes: number;
  /** V8's heap in use, and the external memory of its objects, both after garbage collection. */
  readonly heapBytes: number;
  readonly externalBytes: number;
  /** Bytes of GPU buffers, as the library counts them. */
  readonly gpuBytes: number;
  readonly buffers: number;
  readonly pipelines: number;
  readonly openFiles: number;
  readonly threads: number;
}

/** The result of a soak. */
export interface Soak {
  readonly samples: readonly Sample[];
  /** Number of steps by padded length. */
  readonly stepsOfLength: Readonly<Record<number, number>>;
}

/** V8's `gc`. Only contexts created after setting the flag have it. */
function garbageCollector(): () => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc");
}

const collectGarbage = garbageCollector();

function sample(gpu: Gpu, step: number, seconds: number): Sample {
  const { residentBytes, openFiles, threads } = processStatus();
  collectGarbage();
  const { heapUsed: heapBytes, external: externalBytes } = Deno.memoryUsage();
  const { bytes: gpuBytes, buffers } = gpu.memory;
  const pipelines = gpu.pipelines.size;
  return {
    step,
    seconds,
    residentBytes,
    heapBytes,
    externalBytes,
    gpuBytes,
    buffers,
    pipelines,
    openFiles,
    threads,
  };
}

/** Checks that a new trainer, resumed from the trainer's checkpoint, predicts the same bits. */
async function checkResumed(
  open: () => Trainer,
  trainer: Trainer,
  checkpoint: string,
  probe: readonly Encoded[],
): Promise<void> {
  await trainer.checkpoint(checkpoint);
  using resumed = open();
  await resumed.resume(checkpoint);
  assert.deepEqual(await resumed.predict(probe), await trainer.predict(probe));
}

/**
 * Trains; all trainers live as long as the soak. After each turn the trainer writes a checkpoint, a new
 * trainer resumes from it, and both must predict the same.
 * @throws AssertionError if they do not, and what training throws.
 */
export async function soak(
  gpu: Gpu,
  { model, adapter, objective, examples }: Soaked,
  { batchSizes, stepsATurn, turnsEach }: SoakPlan,
  onSample: (sample: Sample) => void = () => {},
): Promise<Soak> {
  using owned = new DisposableStack();
  const frozen = owned.use(FrozenWeights.forTraining(gpu, model));
  const folder = await Deno.makeTempDir();
  owned.defer(() => Deno.removeSync(folder, { recursive: true }));
  const entrants = batchSizes.map((batchSize) => {
    const own = Array.from({ length: stepsATurn * batchSize }, (_, i) => examples[i % examples.length]);
    const options = { learningRate: 1e-3, epochs: turnsEach, batchSize, warmupRatio: 0.03, seed: 0 };
    const open = () => new Trainer({ gpu, model, adapter, objective, examples: own, frozen, ...options });
    const batches = (epoch: number) => makeBatches(own, batchSize, options.seed, epoch);
    return { open, trainer: owned.use(open()), batches, probe: own.slice(0, 2 * batchSize) };
  });
  for (const { trainer } of entrants) await trainer.prepare([]);
  const stepsOfLength: Record<number, number> = {};
  const samples: Sample[] = [];
  const start = performance.now();
  for (let turn = 0; turn < turnsEach; turn++) {
    for (const { open, trainer, batches, probe } of entrants) {
      await trainer.epoch();
      for (const { length } of batches(turn)) stepsOfLength[length] = (stepsOfLength[length] ?? 0) + 1;
      await checkResumed(open, trainer, `${folder}/checkpoint`, probe);
      samples.push(sample(gpu, stepsATurn * (samples.length + 1), (performance.now() - start) / 1000));
      onSample(samples.at(-1)!);
    }
  }
  return { samples, stepsOfLength };
}
