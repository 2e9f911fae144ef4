/** Evaluates dev sets: predictions, and the task's metrics on them. */

import type { Adapter } from "../adapters/attach.ts";
import type { Example, Split, Task } from "../data/task.ts";
import type { Answering } from "../generate/evaluate.ts";
import { likeliestContinuations } from "../generate/likeliest_continuations.ts";
import { rehearsal } from "../generate/rehearsal.ts";
import { testedOn } from "../generate/tested.ts";
import { Writer, type WriterOptions } from "../generate/writer.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Decoder, Model } from "../models/model.ts";
import { languageOf } from "../objectives/language.ts";
import type { WeightPlace } from "../run/weight_store.ts";
import { evaluateMetrics } from "./metrics.ts";

/** Scores by metric name. */
export type Scores = Record<string, number>;

/** Predictions on every dev set: class indices, options or values. `dev` is the main set. */
export type Predictions = Readonly<Record<string, readonly number[]>>;

/** The dev sets by name: `dev`, and the further ones. */
export function devSetsOf({ dev, furtherDev }: Split): Record<string, readonly Example[]> {
  return { dev, ...furtherDev };
}

/** The task's metrics on every dev set; those of a further one end with its name. */
export function scoresOf(
  { metrics }: Task,
  labels: Readonly<Record<string, readonly number[]>>,
  predictions: Predictions,
): Scores {
  const scores: Scores = {};
  for (const [name, own] of Object.entries(labels)) {
    for (const [metric, score] of Object.entries(evaluateMetrics(metrics, predictions[name], own))) {
      scores[metric + suffixOf(name)] = score;
    }
  }
  return scores;
}

/** The decoder of a language task. Throws an Error for another model. */
export function decoderOf(model: Model): Decoder {
  return { ...model, language: languageOf(model) };
}

/** Whether a task's dev sets are asked of a `Writer`, and not predicted by the trainer. */
export function isAsked({ continuations, tests }: Task): boolean {
  return continuations !== undefined || tests !== undefined;
}

/** What a model answers. */
export interface Answers {
  readonly predictions: Predictions;
  /** Scores that do not follow from the predictions. */
  readonly further: Scores;
}

/** Asks a model the dev sets of a task, `batchSize` examples at a time. Throws as `likeliestContinuations` and `testedOn` do. */
export async function ask(
  task: Task,
  split: Split,
  parts: WriterOptions,
  batchSize: number,
): Promise<Answers> {
  using writer = new Writer(parts);
  return await answersOf(writer, task, split, batchSize);
}

/**
 * Makes what `ask` asks, and asks nothing, so that no training ends at a question that cannot be asked.
 * @throws Error that names the prompt or record that is malformed or too long for the model, and one that says how many texts have
 * room on the GPU where a batch's have none.
 */
export async function rehearse(
  task: Task,
  split: Split,
  gpu: Gpu,
  model: Decoder,
  batchSize: number,
): Promise<void> {
  await answersOf(rehearsal(gpu, model), task, split, batchSize);
}

async function answersOf(
  writer: Answering,
  { continuations, tests }: Task,
  split: Split,
  batchSize: number,
): Promise<Answers> {
  const predictions: Record<string, readonly number[]> = {};
  const further: Scores = {};
  for (const [name, examples] of Object.entries(devSetsOf(split))) {
    if (continuations) {
      const prompts = examples.map(({ texts: [prompt] }) => prompt);
      predictions[name] = await likeliestContinuations(writer, prompts, continuations, batchSize);
    } else {
      const own = await testedOn(writer, name === "dev" ? tests!.sets[0] : name, examples, tests!, batchSize);
      predictions[name] = own.predictions;
      for (const [metric, score] of Object.entries(own.further)) further[metric + suffixOf(name)] = score;
    }
  }
  return { predictions, further };
}

/** What the names of a dev set's scores end with. */
function suffixOf(name: string): string {
  return name === "dev" ? "" : ` ${name}`;
}

/** What `evaluateAsIs` evaluates. */
export interface AsIsOptions {
  readonly gpu: Gpu;
  readonly model: Model;
  /** An adapter that has nothing to train. */
  readonly adapter: Adapter;
  readonly frozen: WeightPlace;
  /** A task that is asked. */
  readonly task: Task;
  readonly split: Split;
  readonly batchSize: number;
}

/** Evaluates a decoder as it is. Throws an Error when the task is not asked, or the model is no decoder. */
export async function evaluateAsIs(
  { gpu, model, adapter, frozen, task, split, batchSize }: AsIsOptions,
): Promise<{ readonly predictions: Predictions; readonly scores: Scores }> {
  if (!isAsked(task)) {
    throw new Error(`${task.name} has to be trained: a model as it is has no answers to it`);
  }
  const parts = { gpu, model: decoderOf(model), adapter, frozen };
  const { predictions, further } = await ask(task, split, parts, batchSize);
  return { predictions, scores: { ...scoresOf(task, labelsOf(split), predictions), ...further } };
}

/** The labels of the dev sets, by the sets' names. */
export function labelsOf(split: Split): Record<string, readonly number[]> {
  return Object.fromEntries(
    Object.entries(devSetsOf(split)).map(([name, examples]) => [name, examples.map(({ label }) => label)]),
  );
}
