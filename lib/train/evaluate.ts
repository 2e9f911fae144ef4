/** Evaluates dev sets: predictions, and the task's metrics on them. */

import type { Adapter } from "../adapters/attach.ts";
import type { Example, Split, Task } from "../data/task.ts";
import { likeliest } from "../generate/likeliest.ts";
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
    const suffix = name === "dev" ? "" : ` ${name}`;
    for (const [metric, score] of Object.entries(evaluateMetrics(metrics, predictions[name], own))) {
      scores[metric + suffix] = score;
    }
  }
  return scores;
}

/** The decoder of a language task. Throws an Error for another model. */
export function decoderOf(model: Model): Decoder {
  return { ...model, language: languageOf(model) };
}

/** Chooses among the continuations of a task after every prompt, `batchSize` of them at a time. */
export async function choose(
  { continuations }: Pick<Task, "continuations">,
  split: Split,
  parts: WriterOptions,
  batchSize: number,
): Promise<Predictions> {
  using writer = new Writer(parts);
  const predictions: Record<string, number[]> = {};
  for (const [name, examples] of Object.entries(devSetsOf(split))) {
    const prompts = examples.map(({ texts: [prompt] }) => prompt);
    predictions[name] = await likeliest(writer, prompts, continuations!, batchSize);
  }
  return predictions;
}

/** What `evaluate` evaluates. */
export interface EvaluateOptions {
  readonly gpu: Gpu;
  readonly model: Model;
  /** An adapter that has nothing to train. */
  readonly adapter: Adapter;
  readonly frozen: WeightPlace;
  /** A task with continuations. */
  readonly task: Task;
  readonly split: Split;
  readonly batchSize: number;
}

/** Evaluates a decoder as it is. Throws an Error when the task's answers are no continuations, or the model is no decoder. */
export async function evaluate(
  { gpu, model, adapter, frozen, task, split, batchSize }: EvaluateOptions,
): Promise<{ readonly predictions: Predictions; readonly scores: Scores }> {
  if (!task.continuations) throw new Error(`${task.name} has to be trained: it has no continuations`);
  const parts = { gpu, model: decoderOf(model), adapter, frozen };
  const predictions = await choose(task, split, parts, batchSize);
  return { predictions, scores: scoresOf(task, labelsOf(split), predictions) };
}

/** The labels of the dev sets, by the sets' names. */
export function labelsOf(split: Split): Record<string, readonly number[]> {
  return Object.fromEntries(
    Object.entries(devSetsOf(split)).map(([name, examples]) => [name, examples.map(({ label }) => label)]),
  );
}
