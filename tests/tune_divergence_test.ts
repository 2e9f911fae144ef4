/** Cells that diverge while learning rates are tried: they must not be in the others' way, nor in that of a resumed run. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { taskByName } from "../lib/data/registry.ts";
import { cellName, metricsOnly, settingsDigest, settingsOf, type StoredCell } from "../lib/report/schema.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { runStored, type StoredJob } from "../tasks/reproduce/stored_cells.ts";
import { type Run, runCell } from "../tasks/run_cell.ts";
import { bestRates } from "../tasks/tune.ts";
import { madeUpCell } from "./support/cells.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";

const task = taskByName("sentiment");
const examples = Array.from({ length: 40 }, (_, i) => ({ id: `${i}`, texts: ["abcdefgh"], label: i % 2 }));

async function jobAt(learningRate: number): Promise<StoredJob> {
  const row = { label: "LoRA", method: "LoRA", options: { r: 2, alpha: 4 } };
  const training = { epochs: 1, batchSize: 4, maxTokens: 8, learningRate, warmupRatio: 0 };
  const settings = settingsOf(madeUpCell({ task: task.name, training }));
  return {
    ...{ task, row, training, settings, seed: 0, spectra: false, name: `rate ${learningRate}` },
    split: { train: examples, dev: examples.slice(0, 8) },
    digest: await settingsDigest(settings),
  };
}

/** What `use` makes of a run on the tiny encoder. */
async function withRun(use: (run: Run, out: string) => Promise<void>): Promise<void> {
  const [gpu, model] = [await testGpu(), tinyEncoder()];
  using frozen = FrozenWeights.forTraining(gpu, model);
  const { modelDigest, environment } = madeUpCell();
  const run = { gpu, model, modelDigest, frozen, environment, profileName: "made up", recompute: false };
  await withFolder((out) => use(run, out));
}

/** Runs the jobs with a checkpoint after every step. Returns the names of those that diverged, and the cells of the others. */
async function tried(run: Run, jobs: readonly StoredJob[], out: string, resume: boolean) {
  const [diverged, cells]: [string[], StoredCell[]] = [[], []];
  const begun: boolean[] = [];
  await runStored(run, jobs, { out, name: "tuning", resume, every: 1 }, {
    diverged: ({ name }) => {
      diverged.push(name);
      begun.push(existsSync(`${out}/tuning.checkpoint`));
    },
    finished: (_, cell) => Promise.resolve(void cells.push(cell)),
  });
  assert.deepEqual(begun, diverged.map(() => true), "diverged before the first checkpoint");
  assert.ok(!existsSync(`${out}/tuning.checkpoint`));
  return { diverged, rates: cells.map(({ training }) => training.learningRate), cells };
}

Deno.test("after a cell that diverges beyond its first checkpoint, the next one is trained from its own start", () =>
  withRun(async (run, out) => {
    const { diverged, rates, cells } = await tried(run, [await jobAt(1e15), await jobAt(1e-3)], out, false);
    assert.deepEqual([diverged, rates, cells[0].steps], [["rate 1000000000000000"], [1e-3], 10]);
  }));

Deno.test("a run that is stopped in a cell after one that diverged goes on with that cell, to the same bits", () =>
  withRun(async (run, out) => {
    const jobs = [await jobAt(1e-2), await jobAt(1e15), await jobAt(1e-3)];
    await tried(run, jobs.slice(0, 2), out, false);
    const [{ settings, digest, seed }, stopped] = [jobs[2], new Error("stopped")];
    const checkpoint = { path: `${out}/tuning.checkpoint`, every: 1, cell: cellName(settings, digest, seed) };
    const onStep = (step: number) => {
      if (step === 5) throw stopped;
    };
    await assert.rejects(() => runCell(run, jobs[2], { onStep }, checkpoint), stopped);
    const { diverged, rates, cells } = await tried(run, jobs, out, true);
    assert.deepEqual([diverged, rates], [["rate 1000000000000000"], [1e-2, 1e-3]]);
    await withFolder(async (other) => {
      const { cells: [whole] } = await tried(run, [jobs[2]], other, false);
      assert.equal(metricsOnly([cells[1]]), metricsOnly([whole]));
    });
  }));

Deno.test("the rate of the best score is chosen, and none where no rate scores", () => {
  const scores = { "LoRA r 8": [0.5, 0.7, 0], "LoRA r 32": [0.6, 0.6, 0.4], KronA: [0, 0, 0] };
  assert.deepEqual(bestRates(scores, [1e-3, 3e-3, 1e-2]), { "LoRA r 8": 3e-3, "LoRA r 32": 1e-3 });
});
