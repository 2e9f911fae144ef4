/** Estimates a training run before it starts: steps, FLOPs and bytes of GPU memory. Needs no GPU. */

import type { Adapter } from "../adapters/attach.ts";
import { attentionForward, type Count, countMethod } from "../analysis/counts.ts";
import { shapeOf } from "../analysis/shapes.ts";
import { Writer, type WriterOptions } from "../generate/writer.ts";
import { type CountedBuffer, dryRun } from "../gpu/dry_run.ts";
import type { DeviceTraits } from "../gpu/kernel.ts";
import type { Model } from "../models/model.ts";
import { zeros } from "../models/parameter.ts";
import { withoutValues } from "../models/unread_weight.ts";
import type { BatchShape, Encoded, Objective } from "../objectives/objective.ts";
import { languageOf } from "../objectives/language.ts";
import { keyOf, makeBatches, shapeOf as shapeOfBatch } from "../run/batches.ts";
import { FrozenWeights } from "../run/frozen_weights.ts";
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

/** What a `Writer` is asked after every epoch. */
export interface Asking {
  /** Prompts that are read, their tokens all together, and those of the longest. */
  readonly prompts: number;
  readonly tokens: number;
  readonly longest: number;
  /** New tokens of each at most: all are reckoned. */
  readonly newTokens: number;
}

/** Examples as far as an estimate needs them. All rows of a table share those of a task. */
export interface Batched {
  /** Number of examples. */
  readonly count: number;
  /** How many batches of an epoch have each size. */
  readonly sizes: readonly (readonly [size: BatchShape, batches: number])[];
  /** Examples whose batches have every size that there is. */
  readonly sample: readonly Encoded[];
}

/** The batches of an epoch by their sizes. */
function batchesBySize(objective: Objective, examples: readonly Encoded[], batchSize: number) {
  const batches = makeBatches(examples, batchSize, 0, 0).map((batch) => ({
    batch,
    size: shapeOfBatch(objective, batchSize, batch, examples),
  }));
  return [...Map.groupBy(batches, ({ size }) => keyOf(size)).values()];
}

/** How many batches there are of each size. */
function sizesOf(bySize: ReturnType<typeof batchesBySize>): Batched["sizes"] {
  return bySize.map((own) => [own[0].size, own.length]);
}

function batched(objective: Objective, examples: readonly Encoded[], batchSize: number): Batched {
  const sizes = sizesOf(batchesBySize(objective, examples, batchSize));
  return { count: examples.length, sizes, sample: examples };
}

/**
 * The examples with one batch of each size as the sample, so that many take no more time than few. Examples whose batches are of other
 * sizes in another order count as these.
 */
export function sampled(objective: Objective, examples: readonly Encoded[], batchSize: number): Batched {
  const bySize = batchesBySize(objective, examples, batchSize);
  const sample = bySize.flatMap(([{ batch }]) => batch.indices.map((index) => examples[index]));
  return { count: examples.length, sizes: sizesOf(bySize), sample };
}

/** What is estimated. */
export interface EstimateOptions extends TrainOptions {
  readonly model: Model;
  readonly adapter: Adapter;
  readonly objective: Objective;
  readonly train: readonly Encoded[] | Batched;
  /** A list for each dev set that the trainer predicts. */
  readonly dev: readonly (readonly Encoded[])[];
  /** What a `Writer` is asked, if something is. */
  readonly asking?: Asking;
  /** The device's traits, by which kernels are chosen. */
  readonly traits?: DeviceTraits;
}

/**
 * Estimates `fineTune` with checkpoints. The real trainer runs, without its steps, on a device that only counts
 * allocations (`dry_run.ts`). Steps and bytes are therefore those of a run on a device with the same traits, except for the copies
 * that a restart makes (ReLoRA). FLOPs are those of `countMethod`, of attention's products and of the head, without the second
 * forward pass of `recompute`.
 * @throws Error as the trainer does, when an option or an example cannot be trained with.
 */
export async function estimateTraining(
  { model, adapter, objective, train: examples, dev, asking, traits, ...options }: EstimateOptions,
): Promise<TrainingEstimate> {
  const { batchSize, accumulationSteps = 1, epochs } = options;
  const train = "sample" in examples ? examples : batched(objective, examples, batchSize);
  using dry = dryRun(traits);
  const { gpu } = dry;
  const bare = withoutValues(model);
  const empty = withoutStartingValues(adapter);
  using frozen = FrozenWeights.forTraining(gpu, bare);
  using trainer = new Trainer({
    ...{ gpu, model: bare, adapter: empty, objective, examples: train.sample, frozen },
    ...options,
  });
  await trainer.prepare(dev.flat());
  for (const examples of dev) await trainer.predict(examples);
  // A checkpoint copies the tensors while the originals are still in memory.
  await trainer.snapshot();
  if (asking) {
    await ask(
      { gpu, model: bare, adapter: empty, weights: await trainer.weights(), frozen },
      asking,
      batchSize,
    );
  }
  const asked = asking ? askingFlops(model, adapter, asking) : 0;
  return {
    steps: epochs * Math.ceil(Math.ceil(train.count / batchSize) / accumulationSteps),
    flops: epochs * (asked + epochFlops(model, adapter, objective, train, dev, batchSize)),
    peakBytes: gpu.memory.peakBytes,
    largestBuffer: dry.largest(),
  };
}

/** Estimates what a model as it is takes to be asked, `batchSize` prompts at a time. */
export async function estimateAsking(
  model: Model,
  adapter: Adapter,
  asking: Asking,
  batchSize: number,
  traits?: DeviceTraits,
): Promise<TrainingEstimate> {
  using dry = dryRun(traits);
  const { gpu } = dry;
  const bare = withoutValues(model);
  using frozen = FrozenWeights.forTraining(gpu, bare);
  await ask({ gpu, model: bare, adapter, frozen }, asking, batchSize);
  const flops = askingFlops(model, adapter, asking);
  return { steps: 0, flops, peakBytes: gpu.memory.peakBytes, largestBuffer: dry.largest() };
}

/** The adapter with tensors that start at 0: what they start at takes time and no memory. */
function withoutStartingValues(adapter: Adapter): Adapter {
  const emptied = (specs: Adapter["parameters"]) =>
    new Map([...specs].map(([name, spec]) => [name, { ...spec, init: zeros }]));
  return { ...adapter, parameters: emptied(adapter.parameters), constants: emptied(adapter.constants) };
}

/**
 * Has a `Writer` read a batch of prompts of the mean length and one of the longest, with room for their answers, which it keeps. On a
 * dry run the first token ends them.
 */
async function ask(
  { model, ...parts }: Omit<WriterOptions, "model"> & { readonly model: Model },
  { prompts, tokens, longest, newTokens }: Asking,
  batchSize: number,
): Promise<void> {
  const language = languageOf(model);
  const tokenizer = { ...language.tokenizer, eos: [0] };
  using writer = new Writer({ ...parts, model: { ...model, language: { ...language, tokenizer } } });
  for (const length of [Math.ceil(tokens / prompts), longest]) {
    const batch = Array.from({ length: batchSize }, () => Array<number>(length).fill(0));
    await writer.write(batch, { maxTokens: newTokens });
  }
}

/** FLOPs of reading prompts and of writing as many tokens as may be. */
function askingFlops(model: Model, adapter: Adapter, { tokens, prompts, newTokens }: Asking): number {
  const { vocabulary, width } = model;
  const perToken = model.multiplyAddsPerToken + adapter.multiplyAddsPerToken;
  const written = prompts * newTokens;
  const length = tokens / prompts + newTokens;
  return 2 *
    ((tokens + written) * (perToken + attentionForward(model, length)) + written * vocabulary * width);
}

/** FLOPs of one epoch's steps and of the evaluation after it. */
function epochFlops(
  model: Model,
  adapter: Adapter,
  objective: Objective,
  train: Batched,
  dev: readonly (readonly Encoded[])[],
  batchSize: number,
): number {
  const shape = shapeOf(model);
  const rows = batchSize * objective.sequences;
  const headPasses = trainsHead(model, adapter, objective) ? 3 : 2;
  const count = (length: number) =>
    countMethod(shape, adapter.method, adapter.options, adapter.targeting, rows * length);
  const step = (size: BatchShape) => {
    const { length } = size;
    const { trainingStep, passes, ...own } = count(length);
    const others = unadaptable(model, own) * passes +
      attentionForward(model, length) * (passes > 1 ? 3 : 1);
    return rows * length * (trainingStep + others) + headPasses * objective.multiplyAddsOf(size);
  };
  const forward = (size: BatchShape) => {
    const { length } = size;
    const own = count(length);
    const perToken = own.baseForward + own.adapterForward + unadaptable(model, own) +
      attentionForward(model, length);
    return rows * length * perToken + objective.multiplyAddsOf(size);
  };
  const sum = ({ sizes }: Batched, of: (size: BatchShape) => number) =>
    sizes.reduce((total, [size, batches]) => total + batches * of(size), 0);
  return 2 *
    (sum(train, step) +
      dev.reduce((total, own) => total + sum(batched(objective, own, batchSize), forward), 0));
}

/** Whether the head is trained: one of the objective's own always, a decoder's if the adapter trains the base's. */
function trainsHead({ language }: Model, { trainedBase }: Adapter, { parameters }: Objective): boolean {
  return parameters.size > 0 || (language !== undefined && trainedBase.has(language.output));
}

/** Multiply-adds per token of the linear layers that no adapter can attach to. */
function unadaptable(model: Model, { baseForward }: Pick<Count, "baseForward">): number {
  return model.multiplyAddsPerToken - baseForward;
}
