/**
 * `deno task reproduce --estimate`: prints what every cell will take and what does not fit. Nothing is
 * trained.
 */

import type { Task } from "../lib/data/task.ts";
import type { DeviceTraits } from "../lib/gpu/kernel.ts";
import type { WritablePacking } from "../lib/graph/storages/registry.ts";
import { charactersPerToken } from "../lib/models/unloaded_encoder.ts";
import { packedWithoutValues } from "../lib/models/unread_weight.ts";
import { bytesText, gibibytes } from "../lib/show.ts";
import { estimateTraining, type TrainingEstimate } from "../lib/train/estimate.ts";
import { columns, hoursText, withPrefix } from "./columns.ts";
import { findGpu, misfits, rateOf, type Room, roomOf } from "./machine.ts";
import type { PlannedJob } from "./planned_cells.ts";
import { adapterOf } from "./run_cell.ts";
import type { Profile, Table } from "./tables/table.ts";
import { Ticker } from "./ticker.ts";
import { trainingOf } from "./training.ts";
import {
  type KnownEncoder,
  knownEncoder,
  publishedWorkload,
  readWorkload,
  type Workload,
} from "./workload.ts";

/** The selected cells of a table. */
export interface AskedTable {
  /** The model that they are of; undefined for the embedded encoder. */
  readonly source: string | undefined;
  readonly table: Table;
  readonly profile: Profile;
  readonly jobs: readonly PlannedJob[];
}

/** The command line's options for an estimate. */
export interface EstimateOptions {
  readonly model?: string;
  readonly data?: string;
  /** In TFLOP/s; `memory` is in GiB. */
  readonly rate?: string;
  readonly memory?: string;
  readonly recompute: boolean;
  readonly packing: WritablePacking | undefined;
  readonly json: boolean;
}

/** The estimate of one cell. */
interface EstimatedCell extends TrainingEstimate {
  readonly table: string;
  readonly task: string;
  readonly label: string;
  readonly seed: number;
  /** Hours at the device's rate, without pauses. */
  readonly hours?: number;
  /** What does not fit; empty if everything fits, as far as is known. */
  readonly misfits: readonly ("buffer" | "memory")[];
}

/** Everything that is printed. */
interface Estimates {
  readonly cells: readonly EstimatedCell[];
  readonly model: string;
  /** Where the data sets' sizes and the texts' lengths come from. */
  readonly basis: string;
  readonly adapter?: string;
  readonly room: Room;
  /** FLOPs per second, and where that number comes from. */
  readonly rate?: number;
  readonly rateFrom: string;
}

/** Prints the estimates of all cells, as text or JSON. Throws a UsageError for an option that does not fit. */
export async function printEstimates(asked: readonly AskedTable[], options: EstimateOptions): Promise<void> {
  const encoder = await encoderOf(options);
  using gpu = await findGpu();
  const room = roomOf(gpu, options.memory);
  const rate = await rateOf(gpu, options.rate);
  const cells: EstimatedCell[] = [];
  const ticker = new Ticker(asked.reduce((sum, { jobs }) => sum + rowsByTask(jobs).size, 0));
  for (const { table, profile, jobs } of asked) {
    const estimates = await estimatesOf(encoder, { table, profile, jobs }, options, gpu?.traits, ticker);
    for (const { task, row: { label }, seed } of jobs) {
      const estimate = estimates.get(keyOf(task.name, label))!;
      const hours = rate && estimate.flops / rate / 3600;
      const own = { table: table.name, task: task.name, label, seed, ...estimate };
      cells.push({ ...own, hours, misfits: misfits(estimate, room) });
    }
  }
  ticker.stop();
  const found: Estimates = {
    cells,
    model: encoder.model.name,
    basis: basisOf(encoder, asked.some(({ table }) => isPublished(table, options))),
    adapter: gpu?.adapter.name,
    room,
    rate,
    rateFrom: options.rate !== undefined ? "--rate" : rate ? "a product measured here" : "",
  };
  console.log(options.json ? JSON.stringify({ ...found, total: totalOf(cells) }, null, 1) : textOf(found));
}

/** The encoder, packed as the run would pack it. */
async function encoderOf({ model: source, packing }: EstimateOptions): Promise<KnownEncoder> {
  const encoder = await knownEncoder(source);
  return packing ? { ...encoder, model: packedWithoutValues(encoder.model, packing) } : encoder;
}

const keyOf = (task: string, label: string) => `${task} / ${label}`;

/** True if a table uses published sizes, because there are no files. */
const isPublished = ({ data }: Table, options: EstimateOptions) => data !== undefined && !options.data;

/** The first job of each row on each task: seeds do not change an estimate. */
function rowsByTask(jobs: readonly PlannedJob[]): Map<string, PlannedJob> {
  return new Map(jobs.toReversed().map((job) => [keyOf(job.task.name, job.row.label), job]));
}

/** Estimates each row on each task. */
async function estimatesOf(
  { model }: KnownEncoder,
  { table, profile, jobs }: Omit<AskedTable, "source">,
  options: EstimateOptions,
  traits: DeviceTraits | undefined,
  ticker: Ticker,
): Promise<Map<string, TrainingEstimate>> {
  const read = isPublished(table, options) ? publishedWorkload : readWorkload;
  const workloads = new Map<Task, Workload>();
  const estimates = new Map<string, TrainingEstimate>();
  for (const [key, { task, row }] of rowsByTask(jobs)) {
    const { maxTokens, ...training } = trainingOf(profile, row, task, model);
    // All rows of a task share its texts and its maximum length.
    const workload = workloads.get(task) ?? await read(model, { ...task, maxTokens }, profile);
    workloads.set(task, workload);
    const { objective, train, dev } = workload;
    const recompute = options.recompute || profile.recompute;
    const all = { objective, train, dev, traits, ...training, seed: 0, recompute };
    estimates.set(key, await estimateTraining({ model, adapter: adapterOf(model, row), ...all }));
    ticker.step(estimates.size, key);
  }
  return estimates;
}

function basisOf({ tokenizes }: KnownEncoder, published: boolean): string {
  const tokens = tokenizes ? "tokens by the model's tokenizer" : `${charactersPerToken} characters a token`;
  return published
    ? `data sets by their published sizes, all texts of their mean length but one at the protocol's limit, ${tokens}`
    : `rows and texts of the data's own files, ${tokens}`;
}

/** Sums over cells. */
function totalOf(cells: readonly EstimatedCell[]) {
  const sum = (of: (cell: EstimatedCell) => number) => cells.reduce((total, cell) => total + of(cell), 0);
  return {
    cells: cells.length,
    steps: sum(({ steps }) => steps),
    flops: sum(({ flops }) => flops),
    hours: cells.every(({ hours }) => hours !== undefined) ? sum(({ hours }) => hours!) : undefined,
    peakBytes: Math.max(...cells.map(({ peakBytes }) => peakBytes)),
    doNotFit: cells.filter(({ misfits }) => misfits.length > 0).length,
  };
}

function textOf({ cells, model, basis, adapter, room, rate, rateFrom }: Estimates): string {
  const rows = cells.map(({ table, task, label, seed, steps, flops, peakBytes, largestBuffer, ...cell }) => [
    table,
    task,
    label,
    `${seed}`,
    steps.toLocaleString("en-US"),
    withPrefix(flops, "FLOP"),
    gibibytes(peakBytes),
    gibibytes(largestBuffer.bytes),
    cell.hours === undefined ? "–" : hoursText(cell.hours),
    cell.misfits.length === 0 ? "yes" : `no: ${cell.misfits.join(", ")}`,
  ]);
  const total = totalOf(cells);
  const last = [
    "total",
    `${total.cells} cells`,
    "",
    "",
    total.steps.toLocaleString("en-US"),
    withPrefix(total.flops, "FLOP"),
    gibibytes(total.peakBytes),
    "",
    total.hours === undefined ? "–" : hoursText(total.hours),
    total.doNotFit === 0 ? "all" : `${total.cells - total.doNotFit} of ${total.cells}`,
  ];
  const header = [
    "table",
    "task",
    "method",
    "seed",
    "steps",
    "FLOPs",
    "peak GiB",
    "buffer GiB",
    "hours",
    "fits",
  ];
  const { bufferBytes, memoryBytes, memoryFrom } = room;
  const facts = [
    ["Model", model],
    ["Basis", basis],
    ["Adapter", adapter ?? "none here: its limits are not held against the cells"],
    ["Buffer", bufferBytes ? `${bytesText(bufferBytes)}, the largest that the adapter binds` : "not known"],
    ["Memory", memoryBytes ? `${bytesText(memoryBytes)}, ${memoryFrom}` : "not known: give --memory GIB"],
    ["Rate", rate ? `${withPrefix(rate, "FLOP/s")}, ${rateFrom}` : "not known: give --rate TFLOPS for hours"],
  ];
  return `${columns(facts, [])}

${columns([header, ...rows, last], [3, 4, 5, 6, 7, 8])}

FLOPs are two a multiply-add: every step forward and backward, attention and padding with it, and an evaluation after
every epoch. Peak is what the planner allots for weights, activations and optimizer, and buffer the largest part of it.
Hours are those at the full rate; on llvmpipe a step reaches about 85 % of a product's (results/costs.md).`;
}
