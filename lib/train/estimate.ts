/** Estimates a training run before it starts: steps, FLOPs and bytes of GPU memory. Needs no GPU. */

import type { Adapter } from "../adapters/attach.ts";
import { attentionForward, type Count, countMethod } from "../analysis/counts.ts";
import { shapeOf } from "../analysis/shapes.ts";
import { type CountedBuffer, dryRun } from "../gpu/dry_run.ts";
import type { DeviceTraits } from "../gpu/kernel.ts";
import type { Model } from "../models/model.ts";
import { withoutValues } from "../models/unread_weight.ts";
import type { Encoded, Objective } from "../objectives/objective.ts";
import { makeBatches } from "../run/batches.ts";
import { Trainer, type TrainOptions } from "./trainer.ts";

/** The estimated cost of a run. */
export interface TrainingEstimate {
  /** Optimizer steps. */
  readonly steps: number;
  /**
   * FLOPs of all steps and of an evaluation after every epoch. A multiply-add counts as two, and padding is
   * included.
   */
  readonly flops: number;
  /** Peak bytes in GPU buffers, the model's weights included. */
  readonly peakBytes: number;
  /** The largest buffer. A device must be able to bind it whole. */
  readonly largestBuffer: CountedBuffer;
}

/**
 * Estimates `fineTune` with checkpoints on these examples; `dev` has one list per dev set. The real trainer
 * runs, without its steps, on a device that only counts allocations (`dry_run.ts`). Steps and bytes are
 * therefore those of a run on a device with the same traits, except for the copies that a restart makes
 * (ReLoRA). FLOPs are those of `countMethod`, of attention's products and of the head, without the second
 * forward pass of `recompute`.
 * @throws Error as the trainer does, when an option or an example cannot be trained with.
 */
export async function estimateTraining(
  model: Model,
  adapter: Adapter,
  objective: Objective,
  train: readonly Encoded[],
  dev: readonly (readonly Encoded[])[],
  options: TrainOptions,
  traits?: DeviceTraits,
): Promise<TrainingEstimate> {
  using dry = dryRun(traits);
  const { gpu } = dry;
  using trainer = new Trainer({
    gpu,
    model: withoutValues(model),
    adapter,
    objective,
    examples: train,
    ...options,
  });
  await trainer.prepare(dev.flat());
  for (const examples of dev) await trainer.predict(examples);
  // A checkpoint copies the tensors while the originals are still in memory.
  await trainer.snapshot();
  return {
    steps: trainer.steps,
    flops: options.epochs * epochFlops(model, adapter, objective, train, dev, options.batchSize),
    peakBytes: gpu.memory.peakBytes,
    largestBuffer: dry.largest(),
  };
}

/** FLOPs of one epoch's steps and of the evaluation after it. */
function epochFlops(
  model: Model,
  adapter: Adapter,
  objective: Objective,
  train: readonly Encoded[],
  dev: readonly (readonly Encoded[])[],
  batchSize: number,
): number {
  const shape = shapeOf(model);
  const rows = batchSize * objective.sequences;
  const headForward = batchSize * objective.multiplyAdds;
  const count = (length: number) =>
    countMethod(shape, adapter.method, adapter.options, adapter.targeting, rows * length);
  const step = (length: number) => {
    const { trainingStep, passes, ...own } = count(length);
    const others = unadaptable(model, own) * passes +
      attentionForward(model, length) * (passes > 1 ? 3 : 1);
    return rows * length * (trainingStep + others) + 3 * headForward;
  };
  const forward = (length: number) => {
    const own = count(length);
    const perToken = own.baseForward + own.adapterForward + unadaptable(model, own) +
      attentionForward(model, length);
    return rows * length * perToken + headForward;
  };
  const sum = (examples: readonly Encoded[], of: (length: number) => number) =>
    lengthsOf(examples, batchSize).reduce((total, [length, batches]) => total + batches * of(length), 0);
  return 2 * (sum(train, step) + dev.reduce((total, examples) => total + sum(examples, forward), 0));
}

/** Multiply-adds per token of the linear layers that no adapter can attach to. */
function unadaptable(model: Model, { baseForward }: Pick<Count, "baseForward">): number {
  return model.multiplyAddsPerToken - baseForward;
}

/** How many batches of an epoch have each padded length. This is the same in every epoch. */
function lengthsOf(examples: readonly Encoded[], batchSize: number): [length: number, batches: number][] {
  const byLength = Map.groupBy(makeBatches(examples, batchSize, 0, 0), ({ length }) => length);
  return [...byLength].map(([length, batches]) => [length, batches.length]);
}
