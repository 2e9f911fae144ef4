/** `deno task reproduce --tune`: chooses the learning rates of a table's rows. */

import type { Split, Task } from "../lib/data/task.ts";
import { commitText } from "../lib/report/markdown.ts";
import { rowsOf } from "./planned_cells.ts";
import {
  type RunFiles,
  runStored,
  type StoredJob,
  type StoredRow,
  storedRow,
} from "./reproduce/stored_cells.ts";
import { DivergedError } from "../lib/train/adamw.ts";
import type { Job, Run } from "./run_cell.ts";
import type { Profile, Row, Table } from "./tables/table.ts";
import { gridFor, trainingAt } from "./training.ts";

/** The share of train that is held out at most. */
const heldOutShare = 0.2;

/**
 * As many examples as the profile trains on, and others of train, as many as its dev set has, to choose the
 * rate by. Dev itself is not used.
 */
async function tuningSplit(task: Task, { train: most, dev }: Profile): Promise<Split> {
  const { train } = await task.load();
  const heldOut = Math.min(dev, Math.floor(train.length * heldOutShare));
  const trained = Math.min(most, train.length - heldOut);
  return { train: train.slice(0, trained), dev: train.slice(trained, trained + heldOut) };
}

/** The rows of the profile that have a rate of their own, and are trained. */
export function tunedRows(table: Table, profile: Profile): Row[] {
  return rowsOf(table, profile).filter(({ tunedAs, untrained }) => tunedAs === undefined && !untrained);
}

/**
 * Tries the grid of learning rates for every row that has its own rate, on the first task, with the profile's
 * seeds, and prints the entry for `learning_rates.json`. A rate's score is the mean over the seeds, and 0 if
 * training diverges with one of them. The cells are kept in the store of `out`.
 */
export async function tune(
  run: Run,
  table: Table,
  profile: Profile,
  [task]: readonly Task[],
  files: RunFiles,
): Promise<void> {
  const split = await tuningSplit(task, profile);
  const rows = tunedRows(table, profile);
  const grid = gridFor(run.model);
  const jobs: StoredJob[] = [];
  for (const row of rows) {
    for (const learningRate of grid) {
      const training = trainingAt(profile, learningRate, task, run.model);
      const stored = await tunedRow(run, { task, row, training }, split);
      if (!stored) continue;
      for (let seed = 0; seed < profile.seeds; seed++) {
        jobs.push({ ...stored, seed, name: `${row.label}, rate ${learningRate}, seed ${seed}` });
      }
    }
  }
  const found = new Map<StoredJob, number>();
  await runStored(run, jobs, { ...files, name: `${files.name}-tuning` }, {
    finished: (job, { last, headline }) => Promise.resolve(void found.set(job, last[headline])),
    diverged: ({ name }, { message }) => console.error(`${name}: ${message}`),
  });
  const scoreOf = (label: string, learningRate: number) => {
    const own = jobs.filter(({ row, training }) =>
      row.label === label && training.learningRate === learningRate
    );
    const scores = own.map((job) => found.get(job));
    return own.length === 0 || scores.includes(undefined)
      ? 0
      : scores.reduce((sum: number, score) => sum + score!, 0) / own.length;
  };
  const scores = Object.fromEntries(
    rows.map(({ label }) => [label, grid.map((rate) => scoreOf(label, rate))]),
  );
  const rates = bestRates(scores, grid);
  for (const { label } of rows.filter(({ label }) => !(label in rates))) {
    console.error(`${label}: none of the rates ${grid.join(", ")} scores above 0, and none is chosen`);
  }
  const { environment, profileName, model } = run;
  const chosenBy = `deno task reproduce ${table.name} --tune --profile ${profileName}: ${task.name}, ` +
    `${split.train.length} examples, ${profile.seeds} seed(s), ${split.dev.length} held out of train; ` +
    `${environment.adapter}, commit ${commitText(environment)}`;
  console.log(
    JSON.stringify(
      { [model.name]: { [task.name]: { chosenBy: [chosenBy], rates, heldOutScores: scores } } },
      null,
      2,
    ),
  );
}

/** The rate of the best score of each row, along the grid. A row that scored with none has no rate. */
export function bestRates(
  scores: Readonly<Record<string, readonly number[]>>,
  grid: readonly number[],
): Record<string, number> {
  const rates: Record<string, number> = {};
  for (const [label, own] of Object.entries(scores)) {
    const best = Math.max(...own);
    if (best > 0) rates[label] = grid[own.indexOf(best)];
  }
  return rates;
}

/** The row with its settings; undefined if training diverges in its golden steps already. */
async function tunedRow(run: Run, job: Omit<Job, "seed">, split: Split): Promise<StoredRow | undefined> {
  try {
    return await storedRow(run, job, split, false);
  } catch (error) {
    if (!(error instanceof DivergedError)) throw error;
    console.error(`${job.row.label}, rate ${job.training.learningRate}: ${error.message}`);
    return undefined;
  }
}
