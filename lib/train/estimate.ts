/** What a training run will take, before it is run: steps, FLOPs and bytes of GPU memory. Needs no GPU. */

import type { Adapter } from "../adapters/attach.ts";
import { attentionForward, type Count, countMethod } from "../analysis/counts.ts";
import { shapeOf } from "../analysis/shapes.ts";
import { type CountedBuffer, dryRun } from "../gpu/dry_run.ts";
import type { DeviceTraits } from "../gpu/kernel.ts";
import { sizeOf } from "../graph/graph.ts";
import type { Encoder } from "../models/model.ts";
import { withoutValues } from "../models/unloaded_encoder.ts";
import { type Encoded, makeBatches } from "./batches.ts";
import { headParameters, type HeadShape, sequencesOf } from "./step.ts";
import { Trainer, type TrainOptions } from "./trainer.ts";

/** What a run will take. */
export interface TrainingEstimate {
  /** Optimizer steps. */
  readonly steps: number;
  /** Of all steps, and of an evaluation after every epoch: two a multiply-add, padding computed as the programs do. */
  readonly flops: number;
  /** The most bytes in GPU buffers at one time, the model's weights among them. */
  readonly peakBytes: number;
  /** The largest of these buffers; a device must bind it whole. */
  readonly largestBuffer: CountedBuffer;
}

/**
 * Estimates `fineTune` with checkpoints on these examples: `dev` has a list for each dev set. The trainer itself is run, without
 * its steps, on a device that only counts (`dry_run.ts`), so steps and bytes are those of a run on a device of the same traits;
 * the copies that a restart makes (ReLoRA) are left out. FLOPs are those of `countMethod`, attention's products and the head, and not of
 * `recompute`'s second forward pass.
 * @throws Error as the trainer does, when an option or an example cannot be trained with.
 */
export async function estimateTraining(
  model: Encoder,
  adapter: Adapter,
  head: HeadShape,
  train: readonly Encoded[],
  dev: readonly (readonly Encoded[])[],
  options: TrainOptions,
  traits?: DeviceTraits,
): Promise<TrainingEstimate> {
  using dry = dryRun(traits);
  const { gpu } = dry;
  using trainer = new Trainer(gpu, withoutValues(model), adapter, head, train, options);
  await trainer.prepare(dev.flat());
  for (const examples of dev) await trainer.predict(examples);
  // A checkpoint's copies lie beside what they are made of.
  await trainer.snapshot();
  return {
    steps: trainer.steps,
    flops: options.epochs * epochFlops(model, adapter, head, train, dev, options.batchSize),
    peakBytes: gpu.memory.peakBytes,
    largestBuffer: dry.largest(),
  };
}

/** FLOPs of one epoch's steps and of the evaluation after it. */
function epochFlops(
  model: Encoder,
  adapter: Adapter,
  head: HeadShape,
  train: readonly Encoded[],
  dev: readonly (readonly Encoded[])[],
  batchSize: number,
): number {
  const shape = shapeOf(model);
  const rows = batchSize * sequencesOf(model, head);
  const headForward = headMultiplyAdds(model, head, batchSize);
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

/** The linear layers that no adapter can go to, a token. */
function unadaptable(model: Encoder, { baseForward }: Pick<Count, "baseForward">): number {
  return model.multiplyAddsPerToken - baseForward;
}

/** The head's products for one batch, forward. */
function headMultiplyAdds(model: Encoder, head: HeadShape, batchSize: number): number {
  const vectors = batchSize * (head.shape === "choice" ? head.texts - 1 : 1);
  const matrices = [...headParameters(model, head).values()].filter(({ shape }) => shape.length === 2);
  return vectors * matrices.reduce((sum, { shape }) => sum + sizeOf({ shape, dtype: "f32" }), 0);
}

/** How many batches of an epoch have each padded length; every epoch has the same. */
function lengthsOf(examples: readonly Encoded[], batchSize: number): [length: number, batches: number][] {
  const byLength = Map.groupBy(makeBatches(examples, batchSize, 0, 0), ({ length }) => length);
  return [...byLength].map(([length, batches]) => [length, batches.length]);
}
