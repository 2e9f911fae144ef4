/** Runs the cells that the store lacks one after the other, so that a stopped run can be resumed. */

import { existsSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import type { Split } from "../../lib/data/task.ts";
import { writeWhole } from "../../lib/files.ts";
import { CellStore } from "../../lib/report/cell_store.ts";
import { cellName, settingsDigest, type StoredCell } from "../../lib/report/schema.ts";
import { DivergedError, type StepRecord } from "../../lib/train/adamw.ts";
import { checkpointedCell } from "../../lib/train/cell_checkpoint.ts";
import { labelsOf } from "../../lib/train/evaluate.ts";
import { type Job, type ReadyJob, type Run, runCell, settingsFor } from "../run_cell.ts";
import { appendLog } from "../step_log.ts";
import { endingOnSignal } from "../stopping.ts";
import { Ticker } from "../ticker.ts";

/** Where and how cells are written. */
export interface RunFiles {
  /** The output folder. */
  readonly out: string;
  /** The start of the names of the table's files. */
  readonly name: string;
  /** Whether to keep the store's cells, and to continue from an earlier run's checkpoint and log. */
  readonly resume: boolean;
  /** Steps between checkpoints. */
  readonly every: number;
}

/** What is done when a cell has ended. */
export interface AfterCell {
  /** Called with every cell, new or from the store, in the order in which they were finished. */
  finished?(job: StoredJob, cell: StoredCell): Promise<void>;
  /** Called when a cell diverges, which is then left out; without it the run ends with the error. */
  diverged?(job: StoredJob, error: DivergedError): void;
}

/** All cells of a row on one task, apart from the seed. */
export interface StoredRow extends Omit<ReadyJob, "seed"> {
  /** Digest of the settings. */
  readonly digest: string;
}

/** A cell to run or to find in the store. */
export interface StoredJob extends StoredRow {
  readonly seed: number;
  /** Its name on the terminal. */
  readonly name: string;
}

/** The row with its settings, which takes its golden steps. */
export async function storedRow(
  run: Run,
  job: Omit<Job, "seed">,
  split: Split,
  spectra: boolean,
): Promise<StoredRow> {
  const settings = await settingsFor(run, job, split);
  return { ...job, split, spectra, settings, digest: await settingsDigest(settings) };
}

/**
 * Trains the cells that the store in `out` lacks, or, without `resume`, all. Every finished cell is stored at
 * once; `<out>/<name>.checkpoint` and `<out>/<name>.log.jsonl` hold the running one and every step.
 */
export async function runStored(
  run: Run,
  jobs: readonly StoredJob[],
  { out, name, resume, every }: RunFiles,
  { finished, diverged }: AfterCell = {},
): Promise<void> {
  const store = await CellStore.open(out);
  const known = resume ? await knownCells(store, jobs) : new Map<StoredJob, StoredCell>();
  for (const [{ settings, split }] of known) await store.writeLabels(settings, labelsOf(split));
  const [log, checkpoint] = [`${out}/${name}.log.jsonl`, `${out}/${name}.checkpoint`];
  await removeSpent(checkpoint, resume, [...known.keys()].map(cellOfJob));
  if (!resume) await writeWhole(log, "");
  using _ = endingOnSignal(() => lastWords(checkpoint, resume));
  const ticker = new Ticker(jobs.length);
  for (const [i, job] of (await inTurn(jobs, known, checkpoint)).entries()) {
    const progress = {
      onStep: (step: number, steps: number) => {
        ticker.step(i + step / steps, job.name);
        // Deno takes signals only while it waits for something: otherwise not before the next checkpoint.
        return pause(0);
      },
      onEpoch: (records: readonly StepRecord[]) => appendLog(log, cellOfJob(job), records),
    };
    let cell = known.get(job);
    if (!cell) {
      try {
        cell = await runCell(run, job, progress, { path: checkpoint, every, cell: cellOfJob(job) });
      } catch (error) {
        if (!(error instanceof DivergedError)) throw error;
        if (!diverged) throw withWhatIsKept(error, job, i, checkpoint);
        diverged(job, error);
        // It is not for the next cell to go on from.
        if (existsSync(checkpoint)) await Deno.remove(checkpoint);
        continue;
      }
      await store.write(cell, labelsOf(job.split));
    }
    await finished?.(job, cell);
    // Removed only after the cell is written. If the run stops in between, `removeSpent` removes it.
    if (!known.has(job) && !job.row.untrained) await Deno.remove(checkpoint);
    ticker.step(i + 1, job.name);
    ticker.cell(job.name, resultText(cell));
  }
  ticker.stop();
}

function cellOfJob({ settings, digest, seed }: StoredJob): string {
  return cellName(settings, digest, seed);
}

/** The finished cells that hold all that their jobs want. */
async function knownCells(
  store: CellStore,
  jobs: readonly StoredJob[],
): Promise<Map<StoredJob, StoredCell>> {
  const known = new Map<StoredJob, StoredCell>();
  for (const job of jobs) {
    const cell = (await store.cellsOf(job.digest)).find(({ seed }) => seed === job.seed);
    if (cell && (cell.spectra || !job.spectra)) known.set(job, cell);
  }
  return known;
}

/**
 * Removes a checkpoint that no cell will resume from: any checkpoint without `--resume`, otherwise that of a
 * finished cell, which remains if a run was stopped between writing the cell and removing it.
 */
async function removeSpent(checkpoint: string, resume: boolean, done: readonly string[]): Promise<void> {
  if (!existsSync(checkpoint)) return;
  if (!resume || done.includes(await checkpointedCell(checkpoint))) await Deno.remove(checkpoint);
}

/**
 * The jobs in the order in which they are done: first the known cells, then the one that the checkpoint is of. Cells that diverged
 * are not known, and would come before it.
 */
async function inTurn(
  jobs: readonly StoredJob[],
  known: ReadonlyMap<StoredJob, StoredCell>,
  checkpoint: string,
): Promise<readonly StoredJob[]> {
  const begun = existsSync(checkpoint) ? await checkpointedCell(checkpoint) : undefined;
  const rank = (job: StoredJob) => known.has(job) ? 0 : cellOfJob(job) === begun ? 1 : 2;
  return jobs.toSorted((a, b) => rank(a) - rank(b));
}

/** How a stopped run goes on. */
function lastWords(checkpoint: string, resume: boolean): string {
  const from = existsSync(checkpoint) ? "the last checkpoint" : "the last finished cell";
  const again = resume ? "The same command" : "The same command with --resume";
  return `Stopped. ${again} goes on from ${from}.`;
}

/** The error of a cell that diverged, with what the run keeps. */
function withWhatIsKept(
  error: DivergedError,
  { name }: StoredJob,
  finished: number,
  checkpoint: string,
): DivergedError {
  const kept = `This was ${name}; the ${finished} finished cells are kept` +
    (existsSync(checkpoint) ? `, and in ${checkpoint} what came before the step.` : ".");
  return new DivergedError(`${error.message} ${kept}`, { cause: error });
}

function resultText({ headline, last, times }: StoredCell): string {
  return `${headline} ${(100 * last[headline]).toFixed(1)}, ${times.wallSeconds.toFixed(0)} s`;
}
