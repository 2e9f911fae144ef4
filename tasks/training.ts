/** The training settings of a cell: the embedded suite's, or a published protocol's. */

import type { Task } from "../lib/data/task.ts";
import type { Encoder } from "../lib/models/model.ts";
import learningRates from "./learning_rates.json" with { type: "json" };
import type { Training } from "./protocols/protocol.ts";
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
export function trainingOf(profile: Profile, row: Row, task: Task, model: Encoder): Training {
  const { training } = profile;
  if (typeof training === "number") return trainingAt(profile, tunedRate(row, model), task);
  const sizes = training.training[task.name];
  if (!sizes) {
    throw new Error(
      `the protocol has no task ${task.name}; it has ${Object.keys(training.training).join(", ")}`,
    );
  }
  return sizes[model.width >= largeWidth ? "large" : "base"];
}

/** The embedded suite's settings with the given rate. Throws an Error if the profile follows a protocol. */
export function trainingAt({ training }: Profile, learningRate: number, { maxTokens }: Task): Training {
  if (typeof training !== "number") throw new Error("a published protocol sets its own learning rate");
  return {
    epochs: training,
    batchSize: suiteBatchSize,
    maxTokens,
    learningRate,
    warmupRatio: suiteWarmupRatio,
  };
}

/** The rates of one model, as --tune printed them. */
interface ModelRates {
  readonly rates: Readonly<Record<string, number>>;
}

/**
 * The learning rate chosen by --tune for the model, or, where the model has none of its own, for the embedded
 * one.
 */
function tunedRate({ label, tunedAs = label }: Row, { name }: Encoder): number {
  const models: Readonly<Record<string, ModelRates>> = learningRates.models;
  const rate = models[name]?.rates[tunedAs] ?? learningRates.models["USE-lite"].rates[tunedAs as "LoRA r 8"];
  if (rate === undefined) {
    throw new Error(
      `no learning rate for "${tunedAs}": run --tune and add its choice to tasks/learning_rates.json`,
    );
  }
  return rate;
}
