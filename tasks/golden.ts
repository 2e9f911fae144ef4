/**
 * The golden steps of a cell's row: two training steps and a few predictions, whose bits stand for those of
 * the whole cell (two, as the first step's gradient of a factor is 0 where the other starts at 0). While they
 * stay the same, a finished cell is what the code would compute again.
 */

import type { Split, Task } from "../lib/data/task.ts";
import { digestOf } from "../lib/digest.ts";
import { digestOfValues } from "../lib/models/values_digest.ts";
import { evaluateAsIs } from "../lib/train/evaluate.ts";
import { fineTune } from "../lib/train/fine_tune.ts";
import type { Training } from "./protocols/protocol.ts";
import { adapterOf, type Job, type Run } from "./run_cell.ts";

const [steps, devExamples] = [2, 8];

/** The task, with tests of the main set alone, and few new tokens: bits show in the first. */
function briefly(task: Task): Task {
  if (!task.tests) return task;
  const { sets: [first], prompts, ...tests } = task.tests;
  return {
    ...task,
    tests: { ...tests, sets: [first], prompts: { ...prompts, newTokens: { commonsense: 4, math: 4 } } },
  };
}

/**
 * SHA-256 of every trained value after the golden steps, of the steps' mean loss and of the predictions; of a row that is not
 * trained, of the predictions.
 */
export async function goldenOf(
  { gpu, model, frozen, recompute }: Run,
  { task: whole, row, training }: Omit<Job, "seed">,
  { train, dev }: Split,
): Promise<string> {
  const { maxTokens, ...options }: Training = training;
  const task = briefly(whole);
  if (row.untrained) {
    const [adapter, split] = [adapterOf(model, row), { train: [], dev: dev.slice(0, devExamples) }];
    const { batchSize } = options;
    return await digestOf(
      (await evaluateAsIs({ gpu, model, adapter, frozen, task, split, batchSize })).predictions,
    );
  }
  const { epochs, predictions, trained } = await fineTune({
    gpu,
    model,
    frozen,
    adapter: adapterOf(model, row),
    task: { ...task, maxTokens },
    split: { train: train.slice(0, steps * options.batchSize), dev: dev.slice(0, devExamples) },
    ...options,
    epochs: 1,
    seed: 0,
    recompute,
  });
  const values = [...trained].toSorted(([a], [b]) => a < b ? -1 : 1).map(([name, { data }]) => [
    name,
    digestOfValues(data),
  ]);
  return await digestOf([epochs[0].trainLoss, predictions, values]);
}
