/** The training settings of a cell: the embedded suite's, or a published protocol's. */

import type { Task } from "../lib/data/task.ts";
import type { Model } from "../lib/models/model.ts";
import learningRates from "./learning_rates.json" with { type: "json" };
import type { Protocol, Training } from "./protocols/protocol.ts";
import type { Profile, Row } from "./tables/table.ts";

/** Examples per step, unless a protocol sets them. */
export const suiteBatchSize = 32;

/** Warm-up ratio of the learning rate, unless a protocol sets it. */
export const suiteWarmupRatio = 0.03;

/** Encoders of this width or more count as large. */
const largeWidth = 1024;

/**
 * The training settings of a row on a task. Throws an Error if there is no tuned rate, or the protocol lacks
 * the task.
 */
export function trainingOf({ training }: Profile, row: Row, task: Task, model: Model): Training {
  return typeof training === "number"
    ? suiteTraining(training, tunedRate(row, model), task)
    : protocolTraining(training, task, model);
}

/** The training settings on a task with the given rate. Throws an Error if the protocol lacks the task. */
export function trainingAt(
  { training }: Profile,
  learningRate: number,
  task: Task,
  model: Model,
): Training {
  return typeof training === "number"
    ? suiteTraining(training, learningRate, task)
    : { ...protocolTraining(training, task, model), learningRate };
}

function suiteTraining(epochs: number, learningRate: number, { maxTokens }: Task): Training {
  return { epochs, batchSize: suiteBatchSize, maxTokens, learningRate, warmupRatio: suiteWarmupRatio };
}

function protocolTraining({ training }: Protocol, { name }: Task, { width }: Model): Training {
  const sizes = training[name];
  if (!sizes) {
    throw new Error(`the protocol has no task ${name}; it has ${Object.keys(training).join(", ")}`);
  }
  return sizes[width >= largeWidth ? "large" : "base"];
}

/** The rates of one model, as --tune printed them. */
interface ModelRates {
  readonly rates: Readonly<Record<string, number>>;
}

/**
 * The learning rate chosen by --tune for the model, or, where the model has none of its own, for the embedded
 * one.
 */
function tunedRate({ label, tunedAs = label }: Row, { name }: Model): number {
  const models: Readonly<Record<string, ModelRates>> = learningRates.models;
  const rate = models[name]?.rates[tunedAs] ?? learningRates.models["USE-lite"].rates[tunedAs as "LoRA r 8"];
  if (rate === undefined) {
    throw new Error(
      `no learning rate for "${tunedAs}": run --tune and add its choice to tasks/learning_rates.json`,
    );
  }
  return rate;
}
