/** The training settings of a cell: the embedded suite's, or a published protocol's. */

import type { Task } from "../lib/data/task.ts";
import { escapeMarkdown } from "../lib/escape_markdown.ts";
import type { Model } from "../lib/models/model.ts";
import type { Cell } from "../lib/report/schema.ts";
import learningRates from "./learning_rates.json" with { type: "json" };
import type { Protocol, Training } from "./protocols/protocol.ts";
import { withoutSizes } from "./sizes.ts";
import type { Profile, Row, Table } from "./tables/table.ts";

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
export function trainingOf(profile: Profile, row: Row, task: Task, model: Model): Training {
  if (row.untrained) return { ...trainingAt(profile, 0, task, model), epochs: 0 };
  const { training } = profile;
  return isPublished(training)
    ? protocolTraining(training, task, model)
    : trainingAt(profile, tunedRate(row, model), task, model);
}

/** The training settings on a task with the given rate. Throws an Error if the protocol lacks the task. */
export function trainingAt(
  { training }: Profile,
  learningRate: number,
  task: Task,
  model: Model,
): Training {
  if (isPublished(training)) return { ...protocolTraining(training, task, model), learningRate };
  const { epochs, batchSize } = typeof training === "number"
    ? { epochs: training, batchSize: suiteBatchSize }
    : training;
  return { epochs, batchSize, maxTokens: task.maxTokens, learningRate, warmupRatio: suiteWarmupRatio };
}

function isPublished(training: Profile["training"]): training is Protocol {
  return typeof training === "object" && "averaged" in training;
}

function protocolTraining({ training }: Protocol, { name }: Task, { width }: Model): Training {
  const sizes = training[name];
  if (!sizes) {
    throw new Error(`the protocol has no task ${name}; it has ${Object.keys(training).join(", ")}`);
  }
  return sizes[width >= largeWidth ? "large" : "base"];
}

/** The rates of one model, as --tune printed them, and the scores by which rows' own were chosen, along the grid. */
interface ModelRates {
  readonly rates: Readonly<Record<string, number>>;
  readonly heldOutScores?: Readonly<Record<string, readonly number[]>>;
}

const models: Readonly<Record<string, ModelRates>> = learningRates.models;

/** The model whose rates others have that have none of their own. */
const usualModel = (isDecoder: boolean) => isDecoder ? "smollm2" : "USE-lite";

/** The learning rates that --tune tries on a model. */
export function gridFor({ language }: Model): readonly number[] {
  return language ? learningRates.grids.decoders : learningRates.grids.encoders;
}

/**
 * The learning rate chosen by --tune for the model, or, where the model has none of its own, for the embedded
 * encoder, or SmolLM2.
 */
function tunedRate({ label, tunedAs = label }: Row, { name, language }: Model): number {
  const usual = models[usualModel(language !== undefined)];
  const rate = models[name]?.rates[tunedAs] ?? usual.rates[tunedAs];
  if (rate === undefined) {
    throw new Error(
      `no learning rate for "${tunedAs}": run --tune and add its choice to tasks/learning_rates.json`,
    );
  }
  return rate;
}

/** How a row got its rate: on examples held out of train, from another row, or without a choice. */
type RateOrigin = "chosen" | "chosen at an end of the grid" | "another row's" | "not chosen";

function rateOrigin({ label, tunedAs }: Row, rate: number, { rates, heldOutScores }: ModelRates): RateOrigin {
  if (tunedAs !== undefined && tunedAs !== label) return "another row's";
  const scores = heldOutScores?.[label];
  if (!scores || rates[label] !== rate) return "not chosen";
  const best = scores.indexOf(Math.max(...scores));
  return best === 0 || best === scores.length - 1 ? "chosen at an end of the grid" : "chosen";
}

/** Sentences on where the learning rates of a table's trained cells are from. */
export function ratesText({ rows, profiles, decoder }: Table, cells: readonly Cell[]): string {
  const [{ profile, model }] = cells;
  if (profile in profiles && isPublished(profiles[profile].training)) {
    return "Learning rates are the protocol's.";
  }
  const owner = model in models ? model : usualModel(decoder !== undefined);
  const rates = new Map<string, number>();
  for (const { label, steps, training: { learningRate } } of cells) {
    if (steps > 0 && !rates.has(label)) rates.set(label, learningRate);
  }
  const trained = rows.flatMap((row) => {
    const rate = rates.get(row.label);
    return rate === undefined ? [] : [{ label: row.label, origin: rateOrigin(row, rate, models[owner]) }];
  });
  const isAnotherSize = (label: string) =>
    rows.every((row) => row.label !== label) &&
    rows.some((row) => withoutSizes(row.label) === withoutSizes(label));
  for (const label of rates.keys()) {
    if (isAnotherSize(label)) trained.push({ label, origin: "another row's" });
  }
  const list = (origin: RateOrigin) =>
    trained.filter((row) => row.origin === origin).map(({ label }) => label).join(", ");
  const sentences = ([
    ["chosen", "chosen on examples held out of train"],
    ["chosen at an end of the grid", "chosen so, at an end of the grid, beyond which another may be better"],
    ["another row's", "another row's"],
    ["not chosen", "not chosen by row"],
  ] as const).filter(([origin]) => list(origin) !== "").map(([origin, text]) => `${text}: ${list(origin)}`);
  if (trained.length === 0) return "Learning rates are as the rows have them.";
  const borrowed = owner === model
    ? ""
    : ` All are those of ${owner}: none was chosen on ${escapeMarkdown(model)}.`;
  return `Learning rates (tasks/learning_rates.json) – ${sentences.join("; ")}.${borrowed}`;
}
