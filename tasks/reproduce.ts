/**
 * `deno task reproduce`: fine-tunes the embedded encoder with every system on the embedded suite and writes
 * results/first-table.{json,md,svg} and a log of every step beside them. `--help` lists the options.
 */

import { parseArgs } from "node:util";
import cliProgress from "npm:cli-progress@3.12.0";
import { attach } from "../lib/adapters/attach.ts";
import { methodByName } from "../lib/adapters/registry.ts";
import { type System, systems } from "../lib/adapters/systems.ts";
import { taskByName, tasks } from "../lib/data/registry.ts";
import type { Split } from "../lib/data/task.ts";
import { type Gpu, openGpu } from "../lib/gpu/device.ts";
import type { Encoder } from "../lib/models/model.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { renderChart } from "../lib/report/chart.ts";
import { renderMarkdown } from "../lib/report/markdown.ts";
import {
  type Cell,
  cellKey,
  type Environment,
  readCells,
  writeCells,
  writeWhole,
} from "../lib/report/schema.ts";
import { fineTune, majorityBaseline, type Progress } from "../lib/train/fine_tune.ts";
import type { StepRecord } from "../lib/train/adamw.ts";
import { FrozenWeights } from "../lib/train/weights.ts";
import learningRates from "./learning_rates.json" with { type: "json" };

/** How much of each task a profile uses. */
interface Profile {
  readonly tasks: readonly string[];
  readonly systems: readonly string[];
  readonly train: number;
  readonly dev: number;
  readonly epochs: number;
  readonly seeds: number;
}

const everySystem = systems.map(({ label }) => label);
const profiles: Readonly<Record<string, Profile>> = {
  smoke: {
    tasks: ["sentiment"],
    systems: ["LoRA r 8", "BoRA r 8 b 16"],
    train: 160,
    dev: 96,
    epochs: 1,
    seeds: 1,
  },
  default: {
    tasks: ["supersense", "sentiment"],
    systems: everySystem,
    train: 800,
    dev: 300,
    epochs: 2,
    seeds: 1,
  },
  full: {
    tasks: tasks.map(({ name }) => name),
    systems: everySystem,
    train: 8000,
    dev: 2000,
    epochs: 3,
    seeds: 3,
  },
};

const batchSize = 32;
const warmupRatio = 0.03;
const adapterDropout = 0.05;
const target = ["query", "value"];

const help = `deno task reproduce [options]

  --profile NAME   smoke (≤ 60 s), default (≤ 10 minutes on 2 cores), full (hours)
  --task NAME      only this task (repeatable): ${tasks.map(({ name }) => name).join(", ")}
  --method LABEL   only this system (repeatable): ${everySystem.join(", ")}
  --seeds N        seeds 0 … N−1 instead of the profile's
  --out DIR        where to write (default: results)
  --resume         keep the finished cells of DIR's file and run the rest
  --tune           try the learning-rate grid on a held-out part of train and print the choice
  --list           print the cells and stop
  --help           this text
`;

/** One cell to be run. */
interface Job {
  readonly task: string;
  readonly system: System;
  readonly seed: number;
  readonly learningRate: number;
}

/** What every cell of a run shares. */
interface Run {
  readonly gpu: Gpu;
  readonly model: Encoder;
  readonly frozen: FrozenWeights;
  readonly environment: Environment;
  readonly profileName: string;
  readonly profile: Profile;
}

function readArguments() {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      profile: { type: "string", default: "default" },
      task: { type: "string", multiple: true },
      method: { type: "string", multiple: true },
      seeds: { type: "string" },
      out: { type: "string", default: "results" },
      resume: { type: "boolean", default: false },
      tune: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const profile = profiles[values.profile];
  if (!profile) throw new Error(`no profile "${values.profile}"; have ${Object.keys(profiles).join(", ")}`);
  const seeds = values.seeds === undefined ? profile.seeds : Number(values.seeds);
  if (!Number.isInteger(seeds) || seeds < 1) {
    throw new Error(`--seeds wants a whole number from 1, not "${values.seeds}"`);
  }
  for (const name of values.task ?? []) taskByName(name);
  for (const label of values.method ?? []) {
    if (!everySystem.includes(label)) throw new Error(`no system "${label}"; have ${everySystem.join(", ")}`);
  }
  const chosen = {
    ...profile,
    seeds,
    tasks: values.task ?? profile.tasks,
    systems: values.method ?? profile.systems,
  };
  return { ...values, profileName: values.profile, profile: chosen };
}

function rateOf(label: string): number {
  const rates: Readonly<Record<string, number>> = learningRates.rates;
  return rates[label];
}

/** Seeds innermost, so that a table fills row by row. */
function jobsOf(profile: Profile): Job[] {
  return profile.tasks.flatMap((task) =>
    systems.filter(({ label }) => profile.systems.includes(label)).flatMap((system) =>
      Array.from(
        { length: profile.seeds },
        (_, seed) => ({ task, system, seed, learningRate: rateOf(system.label) }),
      )
    )
  );
}

/** The first `train` and `dev` examples; both sides come in hash order, so this is a random sample. */
async function sample(name: string, { train, dev }: Profile): Promise<Split> {
  const split = await taskByName(name).load();
  return { train: split.train.slice(0, train), dev: split.dev.slice(0, dev) };
}

/** Trains and evaluates one cell. */
async function runCell(run: Run, job: Job, split: Split, progress: Progress = {}): Promise<Cell> {
  const { gpu, model, frozen, environment, profile, profileName } = run;
  const { system, seed, learningRate } = job;
  const task = taskByName(job.task);
  const method = methodByName(system.method);
  const adapter = attach(model, method, { ...system.options, dropout: adapterDropout, target });
  const start = performance.now();
  const options = { learningRate, epochs: profile.epochs, batchSize, warmupRatio, seed };
  const result = await fineTune(gpu, model, frozen, adapter, task, split, options, progress);
  return {
    schemaVersion: 1,
    table: "first-table",
    profile: profileName,
    task: task.name,
    model: model.name,
    label: system.label,
    method: method.name,
    options: Object.fromEntries(method.reads.map((name) => [name, adapter.options[name]])),
    target,
    seed,
    learningRate,
    epochs: [...result.epochs],
    best: result.best,
    last: result.last,
    headline: task.metrics[0],
    adapterParameters: adapter.trainableParameters,
    headParameters: result.headParameters,
    baseMultiplyAddsPerToken: model.multiplyAddsPerToken,
    adapterMultiplyAddsPerToken: adapter.multiplyAddsPerToken,
    trainExamples: split.train.length,
    devExamples: split.dev.length,
    majorityBaseline: majorityBaseline(task, split.dev),
    batchSize,
    steps: result.steps,
    times: {
      compileSeconds: result.compileSeconds,
      trainSeconds: result.trainSeconds,
      wallSeconds: (performance.now() - start) / 1000,
    },
    peakBufferBytes: result.peakBufferBytes,
    environment,
  };
}

/** Shows a bar with an ETA on a terminal, a line a cell otherwise. */
class Ticker {
  readonly #bar = Deno.stdout.isTerminal()
    ? new cliProgress.SingleBar({ format: "{bar} {percentage}% | ETA {eta_formatted} | {name}" })
    : undefined;

  constructor(total: number) {
    this.#bar?.start(total, 0, { name: "" });
  }

  step(done: number, name: string): void {
    this.#bar?.update(done, { name });
  }

  cell(name: string, text: string): void {
    if (!this.#bar) console.log(`${name}: ${text}`);
  }

  stop(): void {
    this.#bar?.stop();
  }
}

async function openRun(profileName: string, profile: Profile): Promise<Run> {
  const gpu = await openGpu();
  const environment = await describeEnvironment(gpu);
  console.log(
    `${environment.adapter}, ${environment.cpus} CPUs, ${environment.runtime}; profile ${profileName}`,
  );
  const model = await loadUseLite();
  return { gpu, model, frozen: new FrozenWeights(gpu, model), environment, profileName, profile };
}

/** Appends a line a training step: which cell, step, loss, gradient norm before clipping. */
function appendLog(path: string, cell: string, records: readonly StepRecord[]): void {
  const lines = records.map((record) => `${JSON.stringify({ cell, ...record })}\n`);
  Deno.writeTextFileSync(path, lines.join(""), { append: true });
}

/** The cells of an earlier run, or none where there was no run. */
async function finishedCells(path: string): Promise<Cell[]> {
  try {
    return await readCells(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Runs the jobs that `done` does not hold, writing every finished cell at once. */
async function reproduce(run: Run, jobs: readonly Job[], done: readonly Cell[], out: string): Promise<void> {
  await Deno.mkdir(out, { recursive: true });
  const path = `${out}/first-table`;
  const log = `${path}.log.jsonl`;
  if (done.length === 0) await writeWhole(log, "");
  const splits = new Map<string, Split>();
  let cells = [...done];
  const ticker = new Ticker(jobs.length);
  for (const [i, job] of jobs.entries()) {
    const name = `${job.task}, ${job.system.label}, seed ${job.seed}`;
    const split = splits.get(job.task) ?? await sample(job.task, run.profile);
    splits.set(job.task, split);
    const key = cellKey({
      profile: run.profileName,
      task: job.task,
      model: run.model.name,
      label: job.system.label,
      seed: job.seed,
      learningRate: job.learningRate,
      trainExamples: split.train.length,
      devExamples: split.dev.length,
    });
    const known = cells.find((finished) => cellKey(finished) === key);
    const cell = known ?? await runCell(run, job, split, {
      onStep: (step, steps) => ticker.step(i + step / steps, name),
      onEpoch: (records) => appendLog(log, key, records),
    });
    // Those of this run first, in the table's order; what --resume found and this run did not reach stays.
    cells = [...cells.slice(0, i), cell, ...cells.slice(i).filter((other) => other !== known)];
    await writeCells(`${path}.json`, cells);
    ticker.step(i + 1, name);
    ticker.cell(
      name,
      `${cell.headline} ${(100 * cell.last[cell.headline]).toFixed(1)}, ${
        cell.times.wallSeconds.toFixed(0)
      } s`,
    );
  }
  ticker.stop();
  const markdown = renderMarkdown("The first table: USE-lite on the embedded suite", cells);
  await writeWhole(
    `${path}.md`,
    `${markdown}\n![average score against trainable parameters](first-table.svg)\n`,
  );
  await writeWhole(`${path}.svg`, await renderChart("USE-lite on the embedded suite", cells));
  console.log(`\n${markdown}\nWrote ${path}.md, .json and .svg`);
}

/**
 * The grid for every system on the first task, with the last quarter of train held out and dev untouched; prints
 * `learning_rates.json`.
 */
async function tune(run: Run): Promise<void> {
  const task = run.profile.tasks[0];
  const { train } = await sample(task, run.profile);
  const cut = Math.floor(train.length * 3 / 4);
  const split = { train: train.slice(0, cut), dev: train.slice(cut) };
  const rates: Record<string, number> = {};
  const scores: Record<string, number[]> = {};
  for (const system of systems.filter(({ label }) => run.profile.systems.includes(label))) {
    const tried = [];
    for (const learningRate of learningRates.grid) {
      const cell = await runCell(run, { task, system, seed: 0, learningRate }, split);
      tried.push(cell.last[cell.headline]);
      console.error(`${system.label} at ${learningRate}: ${(100 * tried.at(-1)!).toFixed(1)}`);
    }
    scores[system.label] = tried;
    rates[system.label] = learningRates.grid[tried.indexOf(Math.max(...tried))];
  }
  const { environment, profile } = run;
  const chosenBy =
    `deno task reproduce --tune: ${task}, ${split.train.length} examples, ${profile.epochs} epochs, seed 0, ` +
    `${split.dev.length} held out of train; ${environment.adapter}, commit ${
      environment.commit.slice(0, 10)
    }`;
  console.log(JSON.stringify({ chosenBy, grid: learningRates.grid, rates, heldOutScores: scores }, null, 2));
}

async function main(): Promise<void> {
  const { profile, profileName, out, ...flags } = readArguments();
  if (flags.help) return console.log(help);
  const jobs = jobsOf(profile);
  if (flags.list) {
    return jobs.forEach(({ task, system, seed }) => console.log(`${task} / ${system.label} / seed ${seed}`));
  }
  const done = flags.resume ? await finishedCells(`${out}/first-table.json`) : [];
  const run = await openRun(profileName, profile);
  if (flags.tune) await tune(run);
  else await reproduce(run, jobs, done, out);
}

try {
  await main();
} catch (error) {
  console.error((error as Error).message);
  const usage = (error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS") ||
    /^no (profile|task|system)|^--/.test((error as Error).message);
  Deno.exit(usage ? 2 : 1);
}
