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
    : trainingAt(profile, tunedRate(row, model, task), task, model);
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

/** The rates chosen on one task, as --tune printed them, and the scores by which rows' own were chosen, along the grid. */
interface TaskRates {
  readonly rates: Readonly<Record<string, number>>;
  readonly heldOutScores?: Readonly<Record<string, readonly number[]>>;
}

/** The rates of each model by the task they were chosen on, of which the first serves for tasks that have none. */
const models: Readonly<Record<string, Readonly<Record<string, TaskRates>>>> = learningRates.models;

/** The model whose rates others have that have none of their own. */
const usualModel = (isDecoder: boolean) => isDecoder ? "smollm2" : "USE-lite";

/** The task whose rates serve for `task` on a model that has some. */
function ratedTask(model: string, task: string): string {
  return task in models[model] ? task : Object.keys(models[model])[0];
}

/** The learning rates that --tune tries on a model. */
export function gridFor({ language }: Model): readonly number[] {
  return language ? learningRates.grids.decoders : learningRates.grids.encoders;
}

/**
 * The learning rate chosen by --tune for the model on the task; where it has none there, on its first task; where the model has none
 * at all, that of the embedded encoder, or SmolLM2.
 */
function tunedRate({ label, tunedAs = label }: Row, { name, language }: Model, task: Task): number {
  const usual = usualModel(language !== undefined);
  const found = [name, usual].filter((model) => model in models)
    .flatMap((model) => [models[model][ratedTask(model, task.name)], Object.values(models[model])[0]])
    .find(({ rates }) => tunedAs in rates);
  if (!found) {
    throw new Error(
      `no learning rate for "${tunedAs}": run --tune and add its choice to tasks/learning_rates.json`,
    );
  }
  return found.rates[tunedAs];
}

/** How a row got its rate: on examples held out of train, from another row, or without a choice. */
type RateOrigin = "chosen" | "chosen at an end of the grid" | "another row's" | "not chosen";

function rateOrigin({ label, tunedAs }: Row, rate: number, { rates, heldOutScores }: TaskRates): RateOrigin {
  if (tunedAs !== undefined && tunedAs !== label) return "another row's";
  const scores = heldOutScores?.[label];
  if (!scores || rates[label] !== rate) return "not chosen";
  const best = scores.indexOf(Math.max(...scores));
  return best === 0 || best === scores.length - 1 ? "chosen at an end of the grid" : "chosen";
}

/** Sentences on where the learning rates of a table's trained cells are from. */
export function ratesText(table: Table, cells: readonly Cell[]): string {
  const [{ profile, model }] = cells;
  const { profiles, decoder } = table;
  if (profile in profiles && isPublished(profiles[profile].training)) {
    return "Learning rates are the protocol's.";
  }
  const owner = model in models ? model : usualModel(decoder !== undefined);
  const trained = cells.filter(({ steps }) => steps > 0);
  const groups = [...Map.groupBy(trained, ({ task }) => ratedTask(owner, task))].flatMap(([rated, own]) => {
    const tasks = [...new Set(own.map(({ task }) => task))];
    const origins = originsText(
      table,
      own,
      models[owner][rated],
      tasks.every((task) => task === rated) ? "train" : rated,
    );
    return origins === "" ? [] : [{ tasks, origins }];
  });
  if (groups.length === 0) return "Learning rates are as the rows have them.";
  const sentences = groups.map(({ tasks, origins }) =>
    groups.length === 1 ? origins : `on ${tasks.join(", ")} ${origins}`
  );
  const borrowed = owner === model
    ? ""
    : ` All are those of ${owner}: none was chosen on ${escapeMarkdown(model)}.`;
  return `Learning rates (tasks/learning_rates.json) – ${sentences.join(". Those ")}.${borrowed}`;
}

/** Which rows have which origin of their rate, of cells whose rates are chosen by examples held out of `source`. */
function originsText({ rows }: Table, cells: readonly Cell[], chosen: TaskRates, source: string): string {
  const rates = new Map<string, number>();
  for (const { label, training: { learningRate } } of cells) {
    if (!rates.has(label)) rates.set(label, learningRate);
  }
  const trained = rows.flatMap((row) => {
    const rate = rates.get(row.label);
    return rate === undefined ? [] : [{ label: row.label, origin: rateOrigin(row, rate, chosen) }];
  });
  const isAnotherSize = (label: string) =>
    rows.every((row) => row.label !== label) &&
    rows.some((row) => withoutSizes(row.label) === withoutSizes(label));
  for (const label of rates.keys()) {
    if (isAnotherSize(label)) trained.push({ label, origin: "another row's" });
  }
  const list = (origin: RateOrigin) =>
    trained.filter((row) => row.origin === origin).map(({ label }) => label).join(", ");
  const heldOut = `chosen on examples held out of ${source}`;
  return ([
    ["chosen", heldOut],
    [
      "chosen at an end of the grid",
      `${
        list("chosen") === "" ? heldOut : "chosen so"
      }, at an end of the grid, beyond which another may be better`,
    ],
    ["another row's", "another row's"],
    ["not chosen", "not chosen by row"],
  ] as const).filter(([origin]) => list(origin) !== "").map(([origin, text]) => `${text}: ${list(origin)}`)
    .join("; ");
}
