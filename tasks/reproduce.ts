/**
 * `deno task reproduce [table…]`: fine-tunes the embedded encoder with every system of a table on the embedded suite and
 * writes results/<table>.{json,md,svg} and a log of every step beside them. `--help` lists the options.
 */

import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { families, taskByName, taskFrom, tasks } from "../lib/data/registry.ts";
import type { Example, Split, Task } from "../lib/data/task.ts";
import { writeWhole } from "../lib/files.ts";
import { openGpu } from "../lib/gpu/device.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { type Cell, cellKey, readCells, writeCells } from "../lib/report/schema.ts";
import { DivergedError, type StepRecord } from "../lib/train/adamw.ts";
import { checkpointedCell } from "../lib/train/cell_checkpoint.ts";
import { FrozenWeights } from "../lib/train/weights.ts";
import learningRates from "./learning_rates.json" with { type: "json" };
import { Ticker } from "./ticker.ts";
import { trainingOf } from "./training.ts";
import { asUsage, runCommand, UsageError } from "./usage.ts";
import { inOrder, isStudy, settingsText, writeReport } from "./report_table.ts";
import { adapterOf, defaultTarget, type Job, type Run, runCell } from "./run_cell.ts";
import { tableByName, tables } from "./tables/registry.ts";
import type { Profile, Row, Study, Table } from "./tables/table.ts";

const help = `deno task reproduce [table…] [options]

Tables (default: ${tables[0].name}):
${tables.map(({ name, title }) => `  ${name.padEnd(16)} ${title}`).join("\n")}

  --profile NAME   smoke (seconds), default (first-table: ≤ 10 minutes on 2 cores), full (hours);
                   glue and commonsense also have paper: the published protocol on all of the data
  --model SOURCE   an encoder of Hugging Face's, by folder or hub id, in place of the embedded one
  --data DIR       the folder of the data sets that glue and commonsense read
  --task NAME      only this task (repeatable): ${tasks.map(({ name }) => name).join(", ")}
                   with --data: ${families.flatMap(({ tasks }) => tasks).join(", ")}
  --method LABEL   only this row (repeatable); --list prints them
  --seeds N        seeds 0 … N−1 instead of the profile's
  --shard I/N      only the I-th of N parts of the cells, for N machines; deno task report merges what they write
  --out DIR        where to write (default: results)
  --resume         keep the finished cells of DIR's files, go on with the one that was stopped, and run the rest
  --checkpoint-every N  steps from one checkpoint of the running cell to the next (default: 50): what a stop can cost
  --autotune       time the kernels of the products for 10 seconds at most and take the fastest, which are kept in the user's
                   cache folder; changes no bit of the results
  --tune           try the learning-rate grid on a held-out part of train and print the choice
  --list           print the cells and stop
  --help           this text
`;

function readArguments() {
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: {
      profile: { type: "string", default: "default" },
      model: { type: "string" },
      data: { type: "string" },
      task: { type: "string", multiple: true },
      method: { type: "string", multiple: true },
      seeds: { type: "string" },
      shard: { type: "string", default: "1/1" },
      out: { type: "string", default: "results" },
      resume: { type: "boolean", default: false },
      "checkpoint-every": { type: "string", default: "50" },
      autotune: { type: "boolean", default: false },
      tune: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const chosen = positionals.length > 0 ? positionals.map(tableByName) : [tables[0]];
  for (const name of ["seeds", "checkpoint-every"] as const) {
    const value = values[name];
    if (value !== undefined && !/^[1-9]\d*$/.test(value)) {
      throw new UsageError(`--${name} wants a whole number from 1, not "${value}"`);
    }
  }
  for (const label of values.method ?? []) {
    const labels = chosen.flatMap((table) => isStudy(table) ? [] : table.rows.map((row) => row.label));
    if (!labels.includes(label)) throw new UsageError(`no system "${label}"; have ${labels.join(", ")}`);
  }
  return { ...values, tables: chosen };
}

type Arguments = ReturnType<typeof readArguments>;

/** The profile of one table with what the command line changes. */
function profileOf({ profiles }: Table, { profile: name, task, method, seeds }: Arguments): Profile {
  const profile = profiles[name];
  if (!profile) throw new UsageError(`no profile "${name}"; have ${Object.keys(profiles).join(", ")}`);
  return {
    ...profile,
    tasks: task ?? profile.tasks,
    rows: method ?? profile.rows,
    seeds: seeds === undefined ? profile.seeds : Number(seeds),
  };
}

/** `--shard i/n` as [i − 1, n]. */
function shardOf({ shard }: Arguments): readonly [part: number, of: number] {
  const [, part, of] = shard.match(/^([1-9]\d*)\/([1-9]\d*)$/)?.map(Number) ?? [];
  if (!(part <= of)) throw new UsageError(`--shard wants I/N with 1 ≤ I ≤ N, such as 2/4, not "${shard}"`);
  return [part - 1, of];
}

function rowsOf({ rows }: Table, profile: Profile): Row[] {
  return rows.filter(({ label }) => profile.rows?.includes(label) ?? true);
}

/** The profile's tasks, from the suite or from `--data`. */
function tasksOf(table: Table, { tasks }: Profile, data: string | undefined): Task[] {
  if (!table.data) return tasks.map(taskByName);
  if (data === undefined) throw new UsageError(`${table.name} wants --data DIR: ${table.data.folder}`);
  return tasks.map((name) => taskFrom(name, data));
}

/** A cell before it is known how its model is trained. */
type PlannedJob = Omit<Job, "training">;

/** Seeds outermost, so that a run that is cut short has every row with fewer seeds; a shard has every n-th cell. */
function jobsOf(
  table: Table,
  profile: Profile,
  tasks: readonly Task[],
  [part, of]: readonly [part: number, of: number],
): PlannedJob[] {
  return Array.from(
    { length: profile.seeds },
    (_, seed) => tasks.flatMap((task) => rowsOf(table, profile).map((row) => ({ task, row, seed }))),
  ).flat().filter((_, i) => i % of === part);
}

/** The first `train` and `dev` examples; both sides come in hash order, so this is a random sample. */
async function sample(task: Task, profile: Profile): Promise<Split> {
  const { train, dev, furtherDev = {} } = await task.load();
  const first = (examples: readonly Example[]) => examples.slice(0, profile.dev);
  const further = Object.entries(furtherDev).map(([part, examples]) => [part, first(examples)]);
  return {
    train: train.slice(0, profile.train),
    dev: first(dev),
    ...further.length > 0 ? { furtherDev: Object.fromEntries(further) } : {},
  };
}

async function openRun({ profile: profileName, model: source, autotune }: Arguments): Promise<Run> {
  const gpu = await openGpu({ autotune });
  const environment = await describeEnvironment(gpu);
  console.log(
    `${environment.adapter}, ${environment.cpus} CPUs, ${environment.runtime}; profile ${profileName}`,
  );
  const model = source === undefined ? await loadUseLite() : await loadEncoder(source);
  return { gpu, model, frozen: FrozenWeights.of(gpu, model), environment, profileName };
}

/** Appends an epoch, a line a training step: which cell, step, loss, gradient norm before clipping. */
function appendLog(path: string, cell: string, records: readonly StepRecord[]): void {
  const lines = records.map((record) => `${JSON.stringify({ cell, ...record })}\n`).join("");
  // A run that was stopped between an epoch's lines and its checkpoint comes to them again.
  if (existsSync(path) && Deno.readTextFileSync(path).endsWith(lines)) return;
  Deno.writeTextFileSync(path, lines, { append: true });
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

/**
 * Removes the checkpoint that no cell goes on from: any without `--resume`, else a finished cell's, left where a run was stopped
 * between writing the cell and removing it.
 */
async function removeSpent(checkpoint: string, resume: boolean, done: readonly Cell[]): Promise<void> {
  if (!existsSync(checkpoint)) return;
  const isSpent = async () => {
    const owner = await checkpointedCell(checkpoint);
    return done.some((cell) => cellKey(cell) === owner);
  };
  if (!resume || await isSpent()) await Deno.remove(checkpoint);
}

/** Ends the process with a line that says how to go on, until disposed of. */
function exitOnSignal(checkpoint: string): Disposable {
  const signals = { SIGINT: 130, SIGTERM: 143 } as const;
  const listeners = new DisposableStack();
  for (const [name, code] of Object.entries(signals)) {
    const signal = name as keyof typeof signals;
    const exit = () => {
      const from = existsSync(checkpoint) ? "the last checkpoint" : "the last finished cell";
      console.error(`\nStopped. The same command with --resume goes on from ${from}.`);
      Deno.exit(code);
    };
    Deno.addSignalListener(signal, exit);
    listeners.defer(() => Deno.removeSignalListener(signal, exit));
  }
  return listeners;
}

/** Throws when an earlier run's cells were made in another way: a row must not average the two. */
function refuseForeign(
  done: readonly Cell[],
  run: Run,
  table: Table,
  jobs: readonly Job[],
  splits: ReadonlyMap<string, Split>,
): void {
  for (const cell of done) {
    const row = table.rows.find(({ label }) => label === cell.label);
    if (!row) {
      throw new Error(`${table.name}.json holds "${cell.label}", which is no row of it: move the file away`);
    }
    const split = splits.get(cell.task);
    const job = jobs.find((own) => own.row === row && own.task.name === cell.task);
    const theirs = settingsText(cell);
    const own = settingsText({
      profile: run.profileName,
      model: run.model.name,
      // A task that is not run again keeps what it had.
      learningRate: job?.training.learningRate ?? cell.learningRate,
      options: { ...adapterOf(run.model, row).options } as Cell["options"],
      target: [...row.target ?? defaultTarget],
      trainExamples: split?.train.length ?? cell.trainExamples,
      devExamples: split?.dev.length ?? cell.devExamples,
    });
    if (own !== theirs) {
      throw new Error(
        `${table.name}.json holds "${cell.label}" with ${theirs}, this run has ${own}: move the file away, or use another --out`,
      );
    }
  }
}

/** Runs the cells that `done` does not hold, writing every finished cell at once and checkpoints of the running one. */
async function reproduce(
  run: Run,
  table: Table,
  profile: Profile,
  planned: readonly PlannedJob[],
  done: readonly Cell[],
  { out, resume, "checkpoint-every": every }: Arguments,
): Promise<void> {
  const splits = new Map<string, Split>();
  for (const task of new Set(planned.map(({ task }) => task))) {
    splits.set(task.name, await sample(task, profile));
  }
  const jobs = planned.map((job) => ({
    ...job,
    training: trainingOf(profile, job.row, job.task, run.model),
  }));
  refuseForeign(done, run, table, jobs, splits);
  const path = `${out}/${table.name}`;
  const log = `${path}.log.jsonl`;
  const checkpoint = `${path}.checkpoint`;
  await removeSpent(checkpoint, resume, done);
  if (!resume) await writeWhole(log, "");
  using _ = exitOnSignal(checkpoint);
  let cells = [...done];
  const ticker = new Ticker(jobs.length);
  for (const [i, job] of jobs.entries()) {
    const name = `${job.task.name}, ${job.row.label}, seed ${job.seed}`;
    const split = splits.get(job.task.name)!;
    const key = cellKey({
      profile: run.profileName,
      task: job.task.name,
      model: run.model.name,
      label: job.row.label,
      options: { ...adapterOf(run.model, job.row).options } as Cell["options"],
      target: [...job.row.target ?? defaultTarget],
      seed: job.seed,
      learningRate: job.training.learningRate,
      trainExamples: split.train.length,
      devExamples: split.dev.length,
    });
    const known = cells.find((finished) => cellKey(finished) === key);
    const cell = known ?? await runCell(run, table, job, split, {
      onStep: (step, steps) => ticker.step(i + step / steps, name),
      onEpoch: (records) => appendLog(log, key, records),
    }, { path: checkpoint, every: Number(every), cell: key });
    cells = inOrder([...cells.filter((other) => other !== known), cell], table);
    await writeCells(`${path}.json`, cells);
    // Not before the cell is written: a stop between the two leaves what `removeSpent` removes.
    if (!known) await Deno.remove(checkpoint);
    ticker.step(i + 1, name);
    ticker.cell(
      name,
      `${cell.headline} ${(100 * cell.last[cell.headline]).toFixed(1)}, ${
        cell.times.wallSeconds.toFixed(0)
      } s`,
    );
  }
  ticker.stop();
  await writeReport(table, cells, path);
}

/**
 * The grid for every row that is tuned under its own label, on the first task, with the last two fifths of train held out
 * and dev untouched; prints the entries for `learning_rates.json`. The score of a rate is the mean over the profile's seeds.
 */
async function tune(run: Run, table: Table, profile: Profile, [task]: readonly Task[]): Promise<void> {
  const { train } = await sample(task, profile);
  const cut = Math.floor(train.length * 3 / 5);
  const split = { train: train.slice(0, cut), dev: train.slice(cut) };
  const rates: Record<string, number> = {};
  const scores: Record<string, number[]> = {};
  for (const row of rowsOf(table, profile).filter(({ tunedAs }) => tunedAs === undefined)) {
    const tried: number[] = [];
    for (const learningRate of learningRates.grid) {
      const training = { ...trainingOf(profile, row, task, run.model), learningRate };
      tried.push(await heldOutScore(run, table, profile.seeds, { task, row, training }, split));
      console.error(`${row.label}, ${learningRate}: ${(100 * tried.at(-1)!).toFixed(1)}`);
    }
    scores[row.label] = tried;
    rates[row.label] = learningRates.grid[tried.indexOf(Math.max(...tried))];
  }
  const { environment, profileName } = run;
  const chosenBy =
    `deno task reproduce ${table.name} --tune --profile ${profileName}: ${task.name}, ${split.train.length} examples, ` +
    `${profile.seeds} seed(s), ${split.dev.length} held out of train; ` +
    `${environment.adapter}, commit ${environment.commit.slice(0, 10)}`;
  console.log(JSON.stringify({ chosenBy, grid: learningRates.grid, rates, heldOutScores: scores }, null, 2));
}

/** The mean score over the profile's seeds; 0 where training diverges with one of them. */
async function heldOutScore(
  run: Run,
  table: Table,
  seeds: number,
  job: Omit<Job, "seed">,
  split: Split,
): Promise<number> {
  let sum = 0;
  for (let seed = 0; seed < seeds; seed++) {
    try {
      const cell = await runCell(run, table, { ...job, seed }, split);
      sum += cell.last[cell.headline];
    } catch (error) {
      if (!(error instanceof DivergedError)) throw error;
      console.error(`${job.row.label}, ${job.training.learningRate}, seed ${seed}: ${error.message}`);
      return 0;
    }
  }
  return sum / seeds;
}

async function main(): Promise<void> {
  const values = asUsage(readArguments);
  if (values.help) return console.log(help);
  const plans = values.tables.map((table) =>
    isStudy(table) ? checkStudy(table, values) : planOf(table, values)
  );
  if (values.list) return plans.forEach((plan) => plan.list());
  for (const plan of plans) await plan.prepare();
  const run = await openRun(values);
  await Deno.mkdir(values.out, { recursive: true });
  for (const plan of plans) await plan.run(run);
}

/** A table as the command line asks for it. */
interface Plan {
  list(): void;
  /** Reads what an earlier run left, before anything is run. */
  prepare(): Promise<void>;
  run(run: Run): Promise<void>;
}

function planOf(table: Table, values: Arguments): Plan {
  const profile = asUsage(() => profileOf(table, values));
  const tasks = asUsage(() => tasksOf(table, profile, values.data));
  const jobs = jobsOf(table, profile, tasks, shardOf(values));
  let done: Cell[] = [];
  return {
    list() {
      for (const { task, row, seed } of jobs) {
        console.log(`${table.name} / ${task.name} / ${row.label} / seed ${seed}`);
      }
    },
    async prepare() {
      if (values.resume) done = await finishedCells(`${values.out}/${table.name}.json`);
    },
    run: (run) =>
      values.tune ? tune(run, table, profile, tasks) : reproduce(run, table, profile, jobs, done, values),
  };
}

function checkStudy(study: Study, { profile, tune, shard, out }: Arguments): Plan {
  if (!study.profiles.includes(profile)) {
    throw new UsageError(`no profile "${profile}"; have ${study.profiles.join(", ")}`);
  }
  if (tune) throw new UsageError(`${study.name} tunes its own learning rates; leave --tune out`);
  if (shard !== "1/1") throw new UsageError(`${study.name} is not made of cells; leave --shard out`);
  return {
    list: () => console.log(`${study.name} / ${study.title}`),
    prepare: () => Promise.resolve(),
    run: (run) => study.run(run, out),
  };
}

await runCommand(main);
