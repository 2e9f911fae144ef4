/** `deno task reproduce --tune`: chooses the learning rates of a table's rows. */

import type { Split, Task } from "../lib/data/task.ts";
import { commitText } from "../lib/report/markdown.ts";
import { DivergedError } from "../lib/train/adamw.ts";
import { rowsOf, sample } from "./cells.ts";
import learningRates from "./learning_rates.json" with { type: "json" };
import { type Job, type Run, runCell } from "./run_cell.ts";
import type { Profile, Table } from "./tables/table.ts";
import { trainingOf } from "./training.ts";

/**
 * Tries the learning-rate grid for every row that has its own rate, on the first task. The last two fifths of
 * train are held out; dev is not used. Prints the entries for `learning_rates.json`. A rate's score is the
 * mean over the profile's seeds.
 */
export async function tune(run: Run, table: Table, profile: Profile, [task]: readonly Task[]): Promise<void> {
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
    `${environment.adapter}, commit ${commitText(environment)}`;
  console.log(JSON.stringify({ chosenBy, grid: learningRates.grid, rates, heldOutScores: scores }, null, 2));
}

/** The mean score over the profile's seeds; 0 if training diverges for one of them. */
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
