/** Runs the selected cells of one table, and keeps its record. */

import type { Split } from "../../lib/data/task.ts";
import { isFile } from "../../lib/files.ts";
import { languageOf } from "../../lib/objectives/language.ts";
import { CellStore } from "../../lib/report/cell_store.ts";
import { type CellTable, readCellTable, writeCellTable } from "../../lib/report/cell_table.ts";
import { type PlannedJob, sample } from "../planned_cells.ts";
import { areOfOneExperiment, settingsText, withRow, writeReport } from "../report_table.ts";
import { adapterOf, type Run } from "../run_cell.ts";
import type { Profile, Table } from "../tables/table.ts";
import { trainingOf } from "../training.ts";
import { type RunFiles, runStored, type StoredJob, storedRow } from "./stored_cells.ts";

/** The record of an earlier run of a table; undefined if there was none. Throws an Error when it is damaged. */
export async function earlierTable(path: string): Promise<CellTable | undefined> {
  return await isFile(path) ? await readCellTable(path) : undefined;
}

/**
 * Prepares the planned jobs with their data and settings, which takes the golden steps of every row. Throws,
 * before any job runs, if one is impossible, such as a b that does not divide.
 */
async function storedJobs(
  run: Run,
  { spectra = [] }: Table,
  profile: Profile,
  planned: readonly PlannedJob[],
): Promise<StoredJob[]> {
  if (planned.some(({ task }) => task.objective === "language")) languageOf(run.model);
  for (const row of new Set(planned.map(({ row }) => row))) adapterOf(run.model, row);
  const splits = new Map<string, Split>();
  for (const task of new Set(planned.map(({ task }) => task))) {
    splits.set(task.name, await sample(task, profile));
  }
  const nameOf = ({ task, row }: PlannedJob) => `${task.name}, ${row.label}`;
  const rows = new Map<string, Awaited<ReturnType<typeof storedRow>>>();
  for (const job of planned) {
    const { task, row } = job;
    if (rows.has(nameOf(job))) continue;
    const training = trainingOf(profile, row, task, run.model);
    rows.set(
      nameOf(job),
      await storedRow(run, { task, row, training }, splits.get(task.name)!, spectra.includes(row.label)),
    );
  }
  return planned.map((job) => ({
    ...rows.get(nameOf(job))!,
    seed: job.seed,
    name: `${nameOf(job)}, seed ${job.seed}`,
  }));
}

/** An earlier run's record has cells of another experiment than this run's. */
export class ForeignRecord extends Error {}

/** Throws a ForeignRecord if an earlier run made a row with other settings, or one that this run has not of another experiment. */
async function refuseForeign(
  file: string,
  earlier: CellTable,
  store: CellStore,
  jobs: readonly StoredJob[],
): Promise<void> {
  for (const { label, task, settings } of earlier.rows) {
    const job = jobs.find((job) => job.row.label === label && job.task.name === task);
    if (job?.digest === settings) continue;
    const [theirs] = await store.cellsOf(settings);
    const others = job ? [job] : jobs.filter((job) => theirs && !areOfOneExperiment(theirs, job.settings));
    if (others.length === 0) continue;
    const differ = theirs
      ? `with ${settingsText(theirs)}, this run has ${settingsText(others[0].settings)}`
      : "made otherwise than this run would";
    throw new ForeignRecord(
      `${file}.json holds "${label}" ${differ}: move the file away, or use another --out`,
    );
  }
}

/**
 * Runs the table's cells and renders its page. `earlier` is the record that the run goes on with; it is
 * written again after every cell.
 */
export async function runCells(
  run: Run,
  table: Table,
  profile: Profile,
  planned: readonly PlannedJob[],
  earlier: CellTable | undefined,
  files: RunFiles,
): Promise<void> {
  const path = `${files.out}/${files.name}`;
  const jobs = await storedJobs(run, table, profile, planned);
  if (earlier) await refuseForeign(files.name, earlier, await CellStore.open(files.out), jobs);
  let record = earlier ?? { schemaVersion: 2, table: table.name, profile: run.profileName, rows: [] };
  await runStored(run, jobs, files, {
    async finished({ row: { label }, task, digest: settings, seed }) {
      record = withRow(record, { label, task: task.name, settings, seeds: [seed] }, table);
      await writeCellTable(`${path}.json`, record);
    },
  });
  await writeReport(table, path);
}
