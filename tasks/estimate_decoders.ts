/**
 * `deno task reproduce --estimate` of tables for decoders: what each row takes with the model's weights stored in several ways, and on
 * which GPUs it fits. Nothing is trained, and no weights are read.
 */

import { measureRates } from "../lib/analysis/rates.ts";
import { writtenSize } from "../lib/data/published_sizes.ts";
import type { Split, Task } from "../lib/data/task.ts";
import type { WritablePacking } from "../lib/graph/storages/registry.ts";
import type { Decoder } from "../lib/models/model.ts";
import { charactersPerToken } from "../lib/models/unloaded_encoder.ts";
import type { Encoded, Objective } from "../lib/objectives/objective.ts";
import { language } from "../lib/objectives/language.ts";
import { weightBuffers } from "../lib/run/room.ts";
import {
  type Asking,
  type Batched,
  estimateAsking,
  estimateTraining,
  sampled,
  type TrainingEstimate,
} from "../lib/train/estimate.ts";
import { devSetsOf } from "../lib/train/evaluate.ts";
import { encodeRows } from "../lib/train/fine_tune.ts";
import { columns, hoursText, withPrefix } from "./columns.ts";
import type { AskedTable, EstimateOptions } from "./estimate.ts";
import { type KnownDecoder, knownDecoder } from "./known_decoder.ts";
import { findGpu, positive } from "./machine.ts";
import { sample } from "./planned_cells.ts";
import { adapterOf } from "./run_cell.ts";
import type { Profile, Row } from "./tables/table.ts";
import { trainingOf } from "./training.ts";

/** GPUs by their memory in GiB. */
const gpus = [24, 48, 80];

type Storage = "f32" | WritablePacking;

/** Ways to store the weights, the most exact first, unless `--packing` names one. */
const usualStorages: readonly Storage[] = ["f32", "bf16", "int8", "int4"];

/** FLOPs per second where none are measured or given: half of the 40 T that GPUs of 24 GiB have in float32. */
const assumedRate = 20e12;

/** A row of a table: its cells differ by their seeds alone. */
interface EstimatedRow extends TrainingEstimate {
  readonly table: string;
  readonly task: string;
  readonly label: string;
  readonly seeds: number;
  readonly hours: number;
  /** Peak bytes by the weights' storage; absent where the method cannot do with it. */
  readonly peaks: Readonly<Partial<Record<Storage, number>>>;
}

/** What a model is trained on and asked, as all rows of a table share it. */
interface DecoderWorkload {
  readonly objective: Objective;
  readonly train: Batched;
  readonly asking: Asking;
}

/** Prints the estimates of decoders' tables, as text or JSON. Throws a UsageError for an option that does not fit. */
export async function printDecoderEstimates(
  asked: readonly AskedTable[],
  options: EstimateOptions,
): Promise<void> {
  const { rate, from } = await rateFor(options.rate);
  const sizes = options.memory === undefined ? gpus : [positive("memory", options.memory)];
  const storages = options.packing === undefined ? usualStorages : [options.packing];
  const found = [];
  for (const { source, ...own } of asked) {
    const decoder = await knownDecoder(source!, { unpack: true });
    const { model } = decoder;
    const [{ task }] = own.jobs;
    const basis = basisOf(decoder, task, options.data);
    const rows = await estimatedRows(model, own, options, rate, storages);
    found.push({ table: own.table.name, model: model.name, basis, tests: testsText(task), rows });
  }
  if (options.json) {
    console.log(JSON.stringify({ rate, rateFrom: from, gpus: sizes, tables: found }, null, 1));
  } else {
    const rateText = `${withPrefix(rate, "FLOP/s")}, ${from}`;
    for (const own of found) console.log(textOf(own, sizes, storages, rateText));
  }
}

/** Where the numbers of rows and tokens come from: see `workloadOf`. */
function basisOf({ isHere }: KnownDecoder, task: Task, data: string | undefined): string {
  const published = "by their published sizes, all texts of their mean length but one of the most tokens, " +
    `${charactersPerToken} characters a token`;
  if (isPublished(task, data)) return `data sets ${published}`;
  const tokens = isHere ? "tokens by the model's tokenizer" : `${charactersPerToken} characters a token`;
  const own = `rows and texts of the data's own files, ${tokens}`;
  return task.tests ? `to train on ${own}; tests ${published}` : own;
}

/** True where there are no files of what is trained on. */
const isPublished = ({ tests }: Task, data: string | undefined) => tests !== undefined && data === undefined;

async function rateFor(given: string | undefined): Promise<{ readonly rate: number; readonly from: string }> {
  if (given !== undefined) return { rate: positive("rate", given) * 1e12, from: "--rate" };
  using gpu = await findGpu();
  if (gpu && !gpu.adapter.software) {
    return { rate: (await measureRates(gpu)).flopsPerSecond, from: "a product measured here" };
  }
  return { rate: assumedRate, from: "assumed: give --rate TFLOPS for another GPU" };
}

async function estimatedRows(
  model: Decoder,
  { table, profile, jobs }: Omit<AskedTable, "source">,
  options: EstimateOptions,
  rate: number,
  storages: readonly Storage[],
): Promise<EstimatedRow[]> {
  const workloads = new Map<Task, DecoderWorkload>();
  const byRow = Map.groupBy(jobs, ({ task, row }) => `${task.name} / ${row.label}`);
  const rows: EstimatedRow[] = [];
  for (const [{ task, row }, { length: seeds }] of [...byRow.values()].map((own) => [own[0], own] as const)) {
    const workload = workloads.get(task) ?? await workloadOf(model, task, profile, row, options.data);
    workloads.set(task, workload);
    const estimate = await estimateRow(model, task, row, profile, workload, options);
    rows.push({
      table: table.name,
      task: task.name,
      label: row.label,
      seeds,
      ...estimate,
      hours: seeds * estimate.flops / rate / 3600,
      peaks: peaksOf(model, row, estimate.peakBytes, storages),
    });
  }
  return rows;
}

async function estimateRow(
  model: Decoder,
  task: Task,
  row: Row,
  profile: Profile,
  { objective, train, asking }: DecoderWorkload,
  { recompute }: EstimateOptions,
): Promise<TrainingEstimate> {
  const adapter = adapterOf(model, row);
  const { maxTokens: _, ...training } = trainingOf(profile, row, task, model);
  if (row.untrained) return await estimateAsking(model, adapter, asking, training.batchSize);
  return await estimateTraining({
    ...{ model, adapter, objective, train, dev: [], asking, seed: 0, ...training },
    recompute: recompute || profile.recompute === true,
  });
}

/** The peaks with the weights in each of the storages: what else is on the GPU hardly depends on it. */
function peaksOf(
  model: Decoder,
  row: Row,
  peakBytes: number,
  storages: readonly Storage[],
): EstimatedRow["peaks"] {
  const bytesIn = (packing?: WritablePacking) =>
    weightBuffers(model, packing).reduce((sum, [, bytes]) => sum + bytes, 0);
  const own = storages.filter((storage) => storage === "f32" || !adapterOf(model, row).method.readsBase);
  return Object.fromEntries(
    own.map((storage) => [
      storage,
      storage === "f32" ? peakBytes : peakBytes - bytesIn() + bytesIn(storage),
    ]),
  );
}

/** What a task trains on and asks: from files where it is embedded or `--data` is given, otherwise from published sizes. */
async function workloadOf(
  model: Decoder,
  task: Task,
  profile: Profile,
  row: Row,
  data: string | undefined,
): Promise<DecoderWorkload> {
  const objective = language.of(model, { texts: 1, classes: 0 });
  const { batchSize, maxTokens } = trainingOf(profile, row, task, model);
  const split = isPublished(task, data) ? undefined : await sample(task, profile);
  const examples = split
    ? await encodeRows(model, { ...task, maxTokens }, split.train)
    : publishedRows(task.name, maxTokens, profile.train);
  return {
    objective,
    train: sampled(objective, examples, batchSize),
    asking: split && !task.tests ? askingOf(model, task, split) : publishedAsking(task, profile, maxTokens),
  };
}

const tokensOf = (characters: number) => Math.ceil(characters / charactersPerToken);

/** As many rows as are published, all of the mean length but one of the most tokens. */
function publishedRows(name: string, maxTokens: number, most: number): Encoded[] {
  const { rows, characters, learnt } = writtenSize(name);
  const rowOf = (tokens: number): Encoded => ({
    texts: [Array<number>(tokens).fill(0)],
    labelled: Array.from({ length: tokens }, (_, i) => i >= tokens - tokensOf(learnt)),
    label: tokensOf(learnt),
  });
  const [mean, longest] = [rowOf(Math.min(tokensOf(characters), maxTokens)), rowOf(maxTokens)];
  return Array.from({ length: Math.min(rows, most) }, (_, i) => i === 0 ? longest : mean);
}

/** The tests' prompts, of published sizes; the longest has as many tokens as rows in training. */
function publishedAsking({ tests }: Task, { dev }: Profile, maxTokens: number): Asking {
  const { sets, prompts, scorings } = tests!;
  const sizes = sets.map(writtenSize).map((
    { rows, characters },
  ) => [Math.min(rows, dev), tokensOf(characters)]);
  return {
    prompts: sizes.reduce((sum, [rows]) => sum + rows, 0),
    tokens: sizes.reduce((sum, [rows, tokens]) => sum + rows * tokens, 0),
    longest: maxTokens,
    // Of likelihoods, the answers' names.
    newTokens: scorings.includes("generation") ? Math.max(...Object.values(prompts.newTokens)) : 8,
  };
}

/** The prompts of a task with continuations. */
function askingOf({ language: { tokenizer } }: Decoder, { continuations = [] }: Task, split: Split): Asking {
  const lengths = Object.values(devSetsOf(split)).flat().map(({ texts: [prompt] }) =>
    tokenizer.encode(prompt, { addMarks: true }).length
  );
  return {
    prompts: lengths.length,
    tokens: lengths.reduce((sum, length) => sum + length, 0),
    longest: lengths.reduce((a, b) => Math.max(a, b)),
    newTokens: Math.max(...continuations.map((text) => tokenizer.encode(text, { continues: true }).length)),
  };
}

/** How the rows of a table are tested. */
function testsText({ tests, continuations }: Task): string {
  if (tests) {
    return `${tests.sets.join(", ")}, by ${tests.scorings.join(" and ")}, prompts ${tests.prompts.name}`;
  }
  return `by the likeliest of ${continuations!.length} continuations`;
}

/** The most exact storage that fits each GPU. */
function fitsText({ peaks }: EstimatedRow, sizes: readonly number[], storages: readonly Storage[]): string {
  return sizes.map((gib) => {
    const fits = storages.find((storage) => peaks[storage]! <= gib * 2 ** 30);
    return `${gib}: ${fits ?? "nothing"}`;
  }).join(", ");
}

interface Found {
  readonly table: string;
  readonly model: string;
  readonly basis: string;
  readonly tests: string;
  readonly rows: readonly EstimatedRow[];
}

function textOf(
  { table, model, basis, tests, rows }: Found,
  sizes: readonly number[],
  storages: readonly Storage[],
  rate: string,
): string {
  const gib = (bytes: number | undefined) => bytes === undefined ? "–" : (bytes / 2 ** 30).toFixed(1);
  const header = ["table", "trained on", "method", "seeds", "steps", "FLOPs", "hours"];
  const body = rows.map((row) => [
    ...[row.table, row.task, row.label, `${row.seeds}`, row.steps.toLocaleString("en-US")],
    ...[withPrefix(row.flops, "FLOP"), hoursText(row.hours)],
    ...storages.map((storage) => gib(row.peaks[storage])),
    fitsText(row, sizes, storages),
  ]);
  const hours = rows.reduce((sum, own) => sum + own.hours, 0);
  const facts = [
    ["Table", table],
    ["Model", model],
    ["Tested on", tests],
    ["Basis", basis],
    ["Rate", rate],
    ["All rows", `${hoursText(hours)} hours`],
  ];
  const numbers = [...header, ...storages].map((_, i) => i).filter((i) => i >= 3);
  return `${columns(facts, [])}

${columns([[...header, ...storages.map((storage) => `${storage} GiB`), "fits GiB"], ...body], numbers)}

FLOPs are two a multiply-add: steps forward and backward, and answers of the most new tokens, of one seed. GiB are peaks by the
weights' storage: what the planner allots for weights, activations, optimizer and the tests' keys and values. A method that
computes with the base's weights cannot have them packed. Fits: the most exact storage (--packing) with which a GPU of so many GiB
has room. Hours are those of all seeds at the full rate.
`;
}
