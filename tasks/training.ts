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
export function trainingOf({ training }: Profile, row: Row, task: Task, model: Encoder): Training {
  if (typeof training === "number") {
    return {
      epochs: training,
      batchSize: suiteBatchSize,
      maxTokens: task.maxTokens,
      learningRate: tunedRate(row),
      warmupRatio: suiteWarmupRatio,
    };
  }
  const sizes = training.training[task.name];
  if (!sizes) {
    throw new Error(
      `the protocol has no task ${task.name}; it has ${Object.keys(training.training).join(", ")}`,
    );
  }
  return sizes[model.width >= largeWidth ? "large" : "base"];
}

/** The learning rate chosen by --tune on the embedded suite. */
function tunedRate({ label, tunedAs = label }: Row): number {
  const rates: Readonly<Record<string, number>> = learningRates.rates;
  const rate = rates[tunedAs];
  if (rate === undefined) {
    throw new Error(
      `no learning rate for "${tunedAs}": run --tune and add its choice to tasks/learning_rates.json`,
    );
  }
  return rate;
}
