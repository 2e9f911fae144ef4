/** Runs the selected cells of one table one after the other, so that a stopped run can be resumed. */

import { existsSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import type { Split } from "../../lib/data/task.ts";
import { writeWhole } from "../../lib/files.ts";
import type { Encoder } from "../../lib/models/model.ts";
import { type Cell, cellKey, readCells, writeCells } from "../../lib/report/schema.ts";
import type { StepRecord } from "../../lib/train/adamw.ts";
import { checkpointedCell } from "../../lib/train/cell_checkpoint.ts";
import { type PlannedJob, rowsOf, sample } from "../cells.ts";
import { sayingWhatIsKept } from "../divergence.ts";
import { inOrder, settingsText, writeReport } from "../report_table.ts";
import { adapterOf, defaultTarget, type Job, type Run, runCell } from "../run_cell.ts";
import { appendLog } from "../step_log.ts";
import type { Profile, Row, Table } from "../tables/table.ts";
import { Ticker } from "../ticker.ts";
import { trainingOf } from "../training.ts";

/** The cells of an earlier run; empty if there was none. */
export async function finishedCells(path: string): Promise<Cell[]> {
  try {
    return await readCells(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/**
 * Removes a checkpoint that no cell will resume from: any checkpoint without `--resume`, otherwise that of a
 * finished cell, which remains if a run was stopped between writing the cell and removing it.
 */
async function removeSpent(checkpoint: string, resume: boolean, done: readonly Cell[]): Promise<void> {
  if (!existsSync(checkpoint)) return;
  const isSpent = async () => {
    const owner = await checkpointedCell(checkpoint);
    return done.some((cell) => cellKey(cell) === owner);
  };
  if (!resume || await isSpent()) await Deno.remove(checkpoint);
}

/** On a signal, ends the process and prints how to resume, until disposed of. */
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

/** The options of the row's method on the model, including defaults. Throws what `attach` throws. */
function optionsOn(model: Encoder, row: Row): Cell["options"] {
  return { ...adapterOf(model, row).options } as Cell["options"];
}

/** A cell that is ready to run. */
interface ReadyJob extends Job {
  readonly split: Split;
  /** The key of its cell. */
  readonly key: string;
  /** Its name on the terminal. */
  readonly name: string;
}

/**
 * Prepares the planned jobs with their data and keys. Throws, before any job runs, if one is impossible, such
 * as a b that does not divide.
 */
async function readyJobs(
  run: Run,
  table: Table,
  profile: Profile,
  planned: readonly PlannedJob[],
): Promise<ReadyJob[]> {
  const splits = new Map<string, Split>();
  for (const task of new Set(planned.map(({ task }) => task))) {
    splits.set(task.name, await sample(task, profile));
  }
  const optionsOf = new Map(rowsOf(table, profile).map((row) => [row, optionsOn(run.model, row)]));
  return planned.map((job) => {
    const { task, row, seed } = job;
    const training = trainingOf(profile, row, task, run.model);
    const split = splits.get(task.name)!;
    const key = cellKey({
      profile: run.profileName,
      task: task.name,
      model: run.model.name,
      label: row.label,
      options: optionsOf.get(row)!,
      target: [...row.target ?? defaultTarget],
      seed,
      learningRate: training.learningRate,
      trainExamples: split.train.length,
      devExamples: split.dev.length,
    });
    return { ...job, training, split, key, name: `${task.name}, ${row.label}, seed ${seed}` };
  });
}

/** Throws if an earlier run's cells were made with different settings: a row must not average the two. */
function refuseForeign(done: readonly Cell[], run: Run, table: Table, jobs: readonly ReadyJob[]): void {
  for (const cell of done) {
    const row = table.rows.find(({ label }) => label === cell.label);
    // Made with another --r or --b.
    if (!row && table.rows.some(({ method }) => method === cell.method)) continue;
    if (!row) {
      throw new Error(`${table.name}.json holds "${cell.label}", which is no row of it: move the file away`);
    }
    const ofTask = jobs.filter(({ task }) => task.name === cell.task);
    const split = ofTask.at(0)?.split;
    const theirs = settingsText(cell);
    const own = settingsText({
      profile: run.profileName,
      model: run.model.name,
      // A task that is not run again keeps its learning rate.
      learningRate: ofTask.find((job) => job.row === row)?.training.learningRate ?? cell.learningRate,
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

/** Where and how a table's cells are written. */
export interface RunFiles {
  /** The output folder. */
  readonly out: string;
  /** Whether to continue from an earlier run's checkpoint and log. */
  readonly resume: boolean;
  /** Steps between checkpoints. */
  readonly every: number;
}

/**
 * Runs the cells that are not in `done`. Writes every finished cell at once, and checkpoints of the running
 * one.
 */
export async function runCells(
  run: Run,
  table: Table,
  profile: Profile,
  planned: readonly PlannedJob[],
  done: readonly Cell[],
  { out, resume, every }: RunFiles,
): Promise<void> {
  const jobs = await readyJobs(run, table, profile, planned);
  refuseForeign(done, run, table, jobs);
  const path = `${out}/${table.name}`;
  const log = `${path}.log.jsonl`;
  const checkpoint = `${path}.checkpoint`;
  await removeSpent(checkpoint, resume, done);
  if (!resume) await writeWhole(log, "");
  using _ = exitOnSignal(checkpoint);
  let cells = [...done];
  const ticker = new Ticker(jobs.length);
  for (const [i, { key, name, split, ...job }] of jobs.entries()) {
    const known = cells.find((finished) => cellKey(finished) === key);
    const progress = {
      onStep: (step: number, steps: number) => {
        ticker.step(i + step / steps, name);
        // Deno takes signals only while it waits for something: otherwise not before the next checkpoint.
        return pause(0);
      },
      onEpoch: (records: readonly StepRecord[]) => appendLog(log, key, records),
    };
    const checkpointing = { path: checkpoint, every, cell: key };
    const cell = known ?? await sayingWhatIsKept(
      () => runCell(run, table, job, split, progress, checkpointing),
      () =>
        `This was ${name}; the ${cells.length} finished cells are kept` +
        (existsSync(checkpoint) ? `, and in ${checkpoint} what came before the step.` : "."),
    );
    cells = inOrder([...cells.filter((other) => other !== known), cell], table);
    await writeCells(`${path}.json`, cells);
    // Removed only after the cell is written. If the run stops in between, `removeSpent` removes it.
    if (!known) await Deno.remove(checkpoint);
    ticker.step(i + 1, name);
    ticker.cell(name, resultText(cell));
  }
  ticker.stop();
  await writeReport(table, cells, path);
}

function resultText({ headline, last, times }: Cell): string {
  return `${headline} ${(100 * last[headline]).toFixed(1)}, ${times.wallSeconds.toFixed(0)} s`;
}
