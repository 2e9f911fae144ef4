/** Runs that are stopped and resumed end in the bits of runs that were not. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { reLora } from "../lib/adapters/relora.ts";
import type { Split } from "../lib/data/task.ts";
import { streamOf, uniform } from "../lib/graph/random.ts";
import { metricsOnly, readCells } from "../lib/report/schema.ts";
import type { Checkpointing } from "../lib/train/cell_checkpoint.ts";
import { encodeExamples, fineTune, headOf, type Progress } from "../lib/train/fine_tune.ts";
import { Trainer, type TrainOptions } from "../lib/train/trainer.ts";
import { FrozenWeights } from "../lib/train/weights.ts";
import { changes } from "./support/command.ts";
import { suiteRows, writeGlueTsv } from "./support/glue_folders.ts";
import { letters, splitOfLetters } from "./support/letters.ts";
import { testGpu } from "./support/ops.ts";
import { writeCheckpoint } from "./support/seeded_checkpoint.ts";
import { tinyBert } from "./support/tiny_bert.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";

const model = tinyEncoder();
const options: TrainOptions = { learningRate: 1e-2, epochs: 2, batchSize: 4, warmupRatio: 0.1, seed: 1 };
const target = ["query", "value"];
const adapter = attach(model, bora, { r: 2, blocks: 4, dropout: 0.1, target });
const restarted = attach(model, reLora, {
  r: 2,
  dropout: 0.1,
  every: 2,
  restartWarmup: 1,
  prune: 0.9,
  target,
});

async function trainerOn(count: number, changes: Partial<TrainOptions> = {}, of = adapter) {
  const { train } = splitOfLetters(count);
  const examples = encodeExamples(model, letters, train);
  return new Trainer(await testGpu(), model, of, headOf(letters, train[0]), examples, {
    ...options,
    ...changes,
  });
}

/** The records of the epochs from `first` on, and the whole state after them. */
async function restOf(trainer: Trainer, first = 0, onStep?: (step: number) => Promise<void>) {
  const epochs = [];
  for (let epoch = first; epoch < options.epochs; epoch++) epochs.push(await trainer.epoch(epoch, onStep));
  return { epochs, state: await trainer.trainable.state(), weights: await trainer.weights() };
}

for (
  const [name, changes, of] of [
    ["BoRA", {}, adapter],
    ["BoRA, two batches a step", { batchSize: 2, accumulationSteps: 2 }, adapter],
    ["ReLoRA, a restart every other step", {}, restarted],
  ] as const
) {
  Deno.test(`${name}: a run saved after any step and resumed there ends in the same bits`, async () => {
    const folder = await Deno.makeTempDir();
    const plain = await restOf(await trainerOn(14, changes, of));
    using saving = await trainerOn(14, changes, of);
    const saved = await restOf(saving, 0, (step) => saving.checkpoint(`${folder}/${step}`));
    assert.deepEqual(saved, plain, "saving changes nothing");
    assert.equal(saving.steps, 8);
    for (let step = 1; step <= 8; step++) {
      using resumed = await trainerOn(14, changes, of);
      await resumed.resume(`${folder}/${step}`);
      const epoch = Math.floor(step / 4);
      const { epochs, state, weights } = await restOf(resumed, epoch);
      assert.deepEqual(epochs, plain.epochs.slice(epoch), `resumed after step ${step}`);
      assert.deepEqual({ state, weights }, { state: plain.state, weights: plain.weights });
    }
  });
}

Deno.test("a long epoch, saved after its records were read once, gives all of them when resumed", async () => {
  const path = `${await Deno.makeTempDir()}/state`;
  const changes = { batchSize: 1, epochs: 1, learningRate: 1e-4 };
  using whole = await trainerOn(1030, changes);
  const records = await whole.epoch(0, (step) => step === 1027 ? whole.checkpoint(path) : undefined);
  assert.deepEqual(records.map(({ step }) => step), Array.from({ length: 1030 }, (_, i) => i));
  using resumed = await trainerOn(1030, changes);
  await resumed.resume(path);
  assert.deepEqual(await resumed.epoch(0), records);
});

Deno.test("an epoch that was stopped in its midst is run before another", async () => {
  using trainer = await trainerOn(14);
  const stop = (step: number) => assert.ok(step < 2, "stopped");
  await assert.rejects(() => trainer.epoch(0, stop), /stopped/);
  await assert.rejects(() => trainer.epoch(1), /epoch 0 has 2 of its 4 steps: run it before epoch 1/);
  assert.deepEqual((await trainer.epoch(0)).map(({ step }) => step), [0, 1, 2, 3]);
});

async function cell(checkpointing?: Checkpointing, progress: Progress = {}, changes: Partial<Split> = {}) {
  const gpu = await testGpu();
  using frozen = FrozenWeights.forTraining(gpu, model);
  const split = { ...splitOfLetters(14), ...changes };
  const { epochs, best, last, steps, trained } = await fineTune(
    ...[gpu, model, frozen, adapter, letters, split, options, progress, checkpointing] as const,
  );
  return { epochs, best, last, steps, trained };
}

Deno.test("fineTune: stopped at any step or epoch, resumed, it gives the result of a run that was not", async () => {
  const plain = await cell();
  const folder = await Deno.makeTempDir();
  const stop = () => assert.fail("stopped");
  const stops: [string, Progress][] = [
    ...Array.from({ length: 8 }, (_, i): [string, Progress] => [
      `step ${i + 1}`,
      { onStep: (step) => step === i + 1 && stop() },
    ]),
    ...[3, 7].map((final): [string, Progress] => [
      `evaluation after step ${final}`,
      { onEpoch: (records) => records.at(-1)!.step === final && stop() },
    ]),
  ];
  for (const [moment, progress] of stops) {
    const place = { path: `${folder}/${moment}`, every: 2, cell: "tiny" };
    await assert.rejects(() => cell(place, progress), /stopped/);
    const steps: number[] = [];
    const resumed = await cell(place, { onStep: (step) => steps.push(step) });
    assert.deepEqual(resumed, plain, moment);
    const stopped = Number(moment.match(/\d+$/)![0]);
    assert.ok(stopped - (steps[0] - 1) <= 2, `${moment}: resumed at ${steps[0]}`);
  }
  const place = { path: `${folder}/step 1`, every: 2, cell: "tiny" };
  assert.deepEqual(await cell(place, { onStep: stop }), plain, "a run whose last checkpoint is its end");
});

Deno.test("fineTune: a checkpoint that is damaged, or of another run, is refused with what to do, and kept", async () => {
  const path = `${await Deno.makeTempDir()}/cell.checkpoint`;
  const place = { path, every: 5, cell: "tiny" };
  await cell(place);
  const whole = await Deno.readFile(path);
  const refused = async (run: () => Promise<unknown>, message: RegExp) => {
    const before = await Deno.readFile(path);
    await assert.rejects(run, message);
    await assert.rejects(
      run,
      /Go on with the run that wrote this checkpoint, or remove the file to start anew\./,
    );
    assert.deepEqual(await Deno.readFile(path), before);
  };
  const { train, dev } = splitOfLetters(14);
  await refused(() => cell({ ...place, cell: "other" }), /another run: of tiny, not other/);
  await refused(() => cell(place, {}, { dev: dev.slice(1) }), /another run: its dev examples are others/);
  await refused(() => cell(place, {}, { train: train.slice(1) }), /another run: its examples is/);
  for (const bytes of [0, 7, 200, whole.length - 1]) {
    await Deno.writeFile(path, whole.subarray(0, bytes));
    await refused(() => cell(place), /cell\.checkpoint/);
  }
});

const root = new URL("..", import.meta.url).pathname;

function start(args: readonly string[], killAt?: number): Deno.ChildProcess {
  const killer = killAt === undefined ? [] : ["--preload", "tests/support/faults/kill_at.ts"];
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", ...killer, ...args],
    cwd: root,
    env: { NO_COLOR: "1", KILL_AT: `${killAt}` },
    stdout: "null",
    stderr: "piped",
  }).spawn();
}

/** Runs a command to its end, killing it before such and such of its steps (`kill_at.ts`), run after run. */
async function runKilled(args: readonly string[], kills: readonly number[]): Promise<void> {
  for (const killAt of [...kills, undefined]) {
    const { code, signal, stderr } = await start(args, killAt).output();
    const message = new TextDecoder().decode(stderr);
    if (killAt === undefined) assert.equal(code, 0, message);
    else assert.equal(signal, "SIGKILL", `killed at ${killAt}: ${message}`);
  }
}

/** Numbers from 1 to `most`, the same in every run. */
const randomNumbers = (count: number, most: number) =>
  [...uniform(7, streamOf("kills"), count, 1)].map((value) => 1 + Math.floor((value + 1) / 2 * most));

Deno.test("kill -9 before 20 random steps, resumed each time: metrics and adapter bytes are the uninterrupted run's", async () => {
  const [whole, killed] = [await Deno.makeTempDir(), await Deno.makeTempDir()];
  const args = (folder: string) => ["tests/support/killed_cell.ts", folder];
  await runKilled(args(whole), []);
  // It is 1,018 steps in all, and 12 from one checkpoint to the next.
  await runKilled(args(killed), randomNumbers(20, 40));
  for (const name of ["cell.json", "adapter.safetensors"]) {
    assert.deepEqual(await Deno.readFile(`${killed}/${name}`), await Deno.readFile(`${whole}/${name}`), name);
  }
});

Deno.test("reproduce --resume after kill -9 and Ctrl-C: the cells, and the log, of a run that was not stopped", async () => {
  const folder = await Deno.makeTempDir();
  await writeCheckpoint(`${folder}/bert`, tinyBert);
  await writeGlueTsv(`${folder}/data`, "RTE", await suiteRows("RTE", 160, 40));
  const rows = ["--method", "LoRA r 8", "--method", "BoRA r 8 b 16"];
  const sources = ["--model", `${folder}/bert`, "--data", `${folder}/data`, "--task", "RTE", "--seeds", "1"];
  const args = (out: string, ...more: string[]) => [
    ...["tasks/reproduce.ts", "glue", ...sources, ...rows, "--checkpoint-every", "1"],
    ...["--out", `${folder}/${out}`, ...more],
  ];
  const checkpoint = `${folder}/stopped/glue.checkpoint`;
  await runKilled(args("whole"), []);

  const interrupted = start(args("stopped"));
  await changes(checkpoint, 2);
  interrupted.kill("SIGINT");
  const { code, stderr } = await interrupted.output();
  assert.equal(code, 130);
  assert.match(
    new TextDecoder().decode(stderr),
    /same command with --resume goes on from the last checkpoint/,
  );
  const left = await Deno.readFile(checkpoint);

  await runKilled(args("stopped", "--resume"), randomNumbers(2, 60));
  assert.ok(!existsSync(checkpoint), "a finished run leaves no checkpoint");
  const cellsOf = async (out: string) => metricsOnly(await readCells(`${folder}/${out}/glue.json`));
  const logOf = (out: string) => Deno.readTextFile(`${folder}/${out}/glue.log.jsonl`);
  assert.equal(await cellsOf("stopped"), await cellsOf("whole"));
  assert.equal(await logOf("stopped"), await logOf("whole"));

  // As a stop between writing the cell and removing its checkpoint leaves it; no other cell may meet it.
  await Deno.writeFile(checkpoint, left);
  const [first] = await readCells(`${folder}/stopped/glue.json`);
  await Deno.writeTextFile(`${folder}/stopped/glue.json`, JSON.stringify([first]));
  await runKilled(args("stopped", "--resume"), []);
  assert.equal(await cellsOf("stopped"), await cellsOf("whole"));
});
