/**
 * `deno task reproduce [table…]`: fine-tunes the embedded encoder with every system of a table on the embedded suite and
 * writes results/<table>.{json,md,svg} and a log of every step beside them. `--help` lists the options.
 */

import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { families, tasks } from "../lib/data/registry.ts";
import type { Split } from "../lib/data/task.ts";
import { makeFolder, writeWhole } from "../lib/files.ts";
import { openGpu } from "../lib/gpu/device.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import type { Encoder } from "../lib/models/model.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { type Cell, cellKey, readCells, writeCells } from "../lib/report/schema.ts";
import { checkpointedCell } from "../lib/train/cell_checkpoint.ts";
import { FrozenWeights } from "../lib/train/weights.ts";
import { isNamed, jobsOf, type PlannedJob, profileOf, rowsOf, sample, shardOf, tasksOf } from "./cells.ts";
import { type AskedTable, printEstimates } from "./estimate.ts";
import { lockFor } from "./lock.ts";
import { atSizes } from "./sizes.ts";
import { appendLog } from "./step_log.ts";
import { Ticker } from "./ticker.ts";
import { trainingOf } from "./training.ts";
import { tune } from "./tune.ts";
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
  --method NAME    only the rows of this label or method (repeatable); --list prints the labels
  --r R            every row at this rank, at its own α/r and learning rate (repeatable)
  --b B            every row that has blocks at this number of them, or auto (repeatable)
  --seeds N        seeds 0 … N−1 instead of the profile's
  --shard I/N      only the I-th of N parts of the cells, for N machines, each with its own --out, which deno task report
                   merges; or one after the other into one --out, with --resume
  --out DIR        where to write (default: results)
  --resume         keep the finished cells of DIR's files, go on with the one that was stopped, and run the rest
  --checkpoint-every N  steps from one checkpoint of the running cell to the next (default: 50): what a stop can cost
  --autotune       time the kernels of the products for 10 seconds at most and take the fastest, which are kept in the user's
                   cache folder; changes no bit of the results
  --recompute      keep only each layer's input until the backward pass and compute the rest again: less memory, the same bits
  --tune           try the learning-rate grid on a held-out part of train and print the choice
  --list           print the cells and stop
  --estimate       print with each cell its steps, FLOPs, memory and hours, and what does not fit, and stop; wants neither
                   weights nor data: --model may be an id such as roberta-base, --data may be left out
  --rate TFLOPS    the GPU's, for --estimate's hours (default: a product's, measured here)
  --memory GIB     the GPU's, for --estimate (default: the host's, of a software driver)
  --json           the estimates as JSON
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
      r: { type: "string", multiple: true },
      b: { type: "string", multiple: true },
      seeds: { type: "string" },
      shard: { type: "string", default: "1/1" },
      out: { type: "string", default: "results" },
      resume: { type: "boolean", default: false },
      "checkpoint-every": { type: "string", default: "50" },
      autotune: { type: "boolean", default: false },
      recompute: { type: "boolean", default: false },
      tune: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      estimate: { type: "boolean", default: false },
      rate: { type: "string" },
      memory: { type: "string" },
      json: { type: "boolean", default: false },
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
  for (const name of ["rate", "memory", "json"] as const) {
    if (values[name] && !values.estimate) throw new UsageError(`--${name} goes with --estimate`);
  }
  for (const name of values.method ?? []) {
    const rows = chosen.flatMap((table) => isStudy(table) ? [] : table.rows);
    if (!rows.some((row) => isNamed(row, name))) {
      throw new UsageError(`no system "${name}"; have ${rows.map(({ label }) => label).join(", ")}`);
    }
  }
  return { ...values, tables: chosen };
}

type Arguments = ReturnType<typeof readArguments>;

async function openRun(
  { profile: profileName, model: source, autotune, recompute }: Arguments,
): Promise<Run> {
  const gpu = await openGpu({ autotune });
  const environment = await describeEnvironment(gpu);
  console.log(
    `${environment.adapter}, ${environment.cpus} CPUs, ${environment.runtime}; profile ${profileName}`,
  );
  const model = source === undefined ? await loadUseLite() : await loadEncoder(source);
  return { gpu, model, frozen: FrozenWeights.of(gpu, model), environment, profileName, recompute };
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

/** The options of the row's method on the model, defaults and all. Throws what `attach` throws. */
function optionsOn(model: Encoder, row: Row): Cell["options"] {
  return { ...adapterOf(model, row).options } as Cell["options"];
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
    // Another --r or --b than now.
    if (!row && table.rows.some(({ method }) => method === cell.method)) continue;
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
      options: optionsOn(run.model, row),
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
  // Before any cell is run: a b that does not divide stops the run here.
  const optionsOf = new Map(rowsOf(table, profile).map((row) => [row, optionsOn(run.model, row)]));
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
      options: optionsOf.get(job.row)!,
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

async function main(): Promise<void> {
  const values = asUsage(readArguments);
  if (values.help) return console.log(help);
  const plans = values.tables.map((table) =>
    isStudy(table) ? checkStudy(table, values) : planOf(table, values)
  );
  if (values.estimate) return await printEstimates(plans.map((plan) => plan.asked()), values);
  if (values.list) return plans.forEach((plan) => plan.list());
  await makeFolder(values.out);
  // Before anything is read that another run may be about to change.
  using locks = new DisposableStack();
  for (const { name } of values.tables) locks.use(await lockFor(`${values.out}/${name}`));
  for (const plan of plans) await plan.prepare();
  const run = await openRun(values);
  for (const plan of plans) await plan.run(run);
}

/** A table as the command line asks for it. */
interface Plan {
  list(): void;
  /** What is to be estimated. Throws a UsageError where it is not made of cells. */
  asked(): AskedTable;
  /** Reads what an earlier run left, before anything is run. */
  prepare(): Promise<void>;
  run(run: Run): Promise<void>;
}

function planOf(asked: Table, values: Arguments): Plan {
  const { table, profile } = asUsage(() =>
    atSizes({ table: asked, profile: profileOf(asked, values) }, values)
  );
  // An estimate does without the files.
  const data = values.data ?? (values.estimate ? "" : undefined);
  const tasks = asUsage(() => tasksOf(table, profile, data));
  const shard = shardOf(values);
  const jobs = jobsOf(table, profile, tasks, shard);
  let done: Cell[] = [];
  return {
    list() {
      for (const { task, row, seed } of jobs) {
        console.log(`${table.name} / ${task.name} / ${row.label} / seed ${seed}`);
      }
    },
    asked: () => ({ table, profile, jobs }),
    async prepare() {
      const path = `${values.out}/${table.name}.json`;
      if (values.resume) done = await finishedCells(path);
      else if (shard[1] > 1 && !values.tune && existsSync(path)) {
        throw new UsageError(
          `${path} may hold another part's cells, and --shard would replace them: add --resume to keep them, or use another --out`,
        );
      }
    },
    run: (run) =>
      values.tune ? tune(run, table, profile, tasks) : reproduce(run, table, profile, jobs, done, values),
  };
}

function checkStudy(study: Study, { profile, tune, shard, r, b, out }: Arguments): Plan {
  if (!study.profiles.includes(profile)) {
    throw new UsageError(`no profile "${profile}"; have ${study.profiles.join(", ")}`);
  }
  if (tune) throw new UsageError(`${study.name} tunes its own learning rates; leave --tune out`);
  if (r || b) throw new UsageError(`${study.name} has its own ranks and blocks; leave --r and --b out`);
  if (shard !== "1/1") throw new UsageError(`${study.name} is not made of cells; leave --shard out`);
  return {
    list: () => console.log(`${study.name} / ${study.title}`),
    asked() {
      throw new UsageError(`${study.name} is not made of cells; leave --estimate out`);
    },
    prepare: () => Promise.resolve(),
    run: (run) => study.run(run, out),
  };
}

await runCommand(main);
