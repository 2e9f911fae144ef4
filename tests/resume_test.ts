/** Runs that are stopped and resumed end with the same bits as runs that were not. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { reLora } from "../lib/adapters/relora.ts";
import type { Split } from "../lib/data/task.ts";
import { digestOf } from "../lib/digest.ts";
import { Gpu } from "../lib/gpu/device.ts";
import { sizeOf } from "../lib/graph/graph.ts";
import { streamOf, uniform } from "../lib/graph/random.ts";
import { packModel } from "../lib/models/packing.ts";
import { readSafetensors, toFloat32, writeSafetensors } from "../lib/models/safetensors.ts";
import { objectiveOf } from "../lib/objectives/registry.ts";
import { readCells } from "../lib/report/cell_table.ts";
import { metricsOnly } from "../lib/report/schema.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { DivergedError } from "../lib/train/adamw.ts";
import { CellCheckpoint, checkpointedCell, type Checkpointing } from "../lib/train/cell_checkpoint.ts";
import { encodeExamples, fineTune, type FineTuneOptions, type Progress } from "../lib/train/fine_tune.ts";
import { Trainer, type TrainOptions } from "../lib/train/trainer.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { cellFiles } from "./support/cells.ts";
import { changes } from "./support/command.ts";
import { suiteRows, writeGlueTsv } from "./support/glue_folders.ts";
import { letters, splitOfLetters } from "./support/letters.ts";
import { testGpu } from "./support/ops.ts";
import { writeCheckpoint } from "./support/seeded_checkpoint.ts";
import { tinyBert } from "./support/tiny_bert.ts";

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

async function trainerOn(count: number, changes: Partial<TrainOptions> = {}, of = adapter, base = model) {
  const { train } = splitOfLetters(count);
  const examples = encodeExamples(model, letters, train);
  return new Trainer({
    gpu: await testGpu(),
    model: base,
    adapter: of,
    objective: objectiveOf(model, letters, train[0]),
    examples,
    ...options,
    ...changes,
  });
}

/** The records of the epochs from `first` on, and the whole state after them. */
async function restOf(trainer: Trainer, first = 0, onStep?: (step: number) => Promise<void>) {
  const epochs = [];
  for (let epoch = first; epoch < options.epochs; epoch++) epochs.push(await trainer.epoch(onStep));
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
  const records = await whole.epoch((step) => step === 1027 ? whole.checkpoint(path) : undefined);
  assert.deepEqual(records.map(({ step }) => step), Array.from({ length: 1030 }, (_, i) => i));
  using resumed = await trainerOn(1030, changes);
  await resumed.resume(path);
  assert.deepEqual(await resumed.epoch(), records);
});

Deno.test("the trainer knows which epoch is next, wherever the one before was stopped or saved", async () => {
  const plain = await restOf(await trainerOn(14));
  const path = `${await Deno.makeTempDir()}/state`;
  const stopped = async (at: number, save: (trainer: Trainer) => unknown) => {
    const trainer = await trainerOn(14);
    const stop = async (step: number) => {
      if (step === at) await save(trainer);
      assert.ok(step !== at, "stopped");
    };
    if (at > 4) await trainer.epoch();
    await assert.rejects(() => trainer.epoch(stop), /stopped/);
    return trainer;
  };
  for (let at = 1; at <= 8; at++) {
    using saved = await stopped(at, (trainer) => trainer.checkpoint(path));
    using unsaved = await stopped(at, () => {});
    using resumed = await trainerOn(14);
    await resumed.resume(path);
    for (const own of [saved, unsaved, resumed]) {
      // A run that was stopped after its last step is finished.
      const first = Math.floor(at / 4);
      assert.deepEqual(await restOf(own, first), { ...plain, epochs: plain.epochs.slice(first) }, `${at}`);
      await assert.rejects(() => own.epoch(), /all 2 epochs have been run: plan more/);
    }
  }
});

Deno.test("a checkpoint that no one waits for is refused, as its steps go on, and the file stays as it was", async () => {
  const path = `${await Deno.makeTempDir()}/state`;
  using trainer = await trainerOn(40, { batchSize: 1 });
  await trainer.checkpoint(path);
  const before = await Deno.readFile(path);
  const refused: Promise<void>[] = [];
  await trainer.epoch((step) => {
    if (step === 5) {
      refused.push(assert.rejects(trainer.checkpoint(path), /steps ran while .* have onStep return/));
    }
  });
  assert.equal(refused.length, 1);
  await Promise.all(refused);
  assert.deepEqual(await Deno.readFile(path), before);
});

Deno.test("what no one waits for is no mixture of several steps: predictions, and weights that restarts move", async () => {
  using trainer = await trainerOn(5, { batchSize: 1 }, restarted);
  const examples = encodeExamples(model, letters, splitOfLetters(2).train);
  await trainer.prepare(examples);
  const refused: Promise<void>[] = [];
  await trainer.epoch(async (step) => {
    if (step === 1) await trainer.predict(examples);
    if (step !== 2) return;
    for (const read of [() => trainer.predict(examples), () => trainer.weights(), () => trainer.keep()]) {
      refused.push(assert.rejects(read, /steps ran while .* were read: await them in onStep, or between/));
    }
  });
  assert.equal(refused.length, 3);
  await Promise.all(refused);
  assert.equal(trainer.kept, undefined);
});

Deno.test("a restart that finds no room half-way is taken back, and the run goes on to the same bits", async () => {
  const gpu = await testGpu();
  const epochs = async (trainer: Trainer) => {
    const failures: string[] = [];
    while (failures.length < 3) {
      await trainer.epoch().catch(({ message }: Error) => failures.push(message));
    }
    return { failures, weights: await trainer.weights() };
  };
  const over = /all 2 epochs have been run/;
  using plain = await trainerOn(14, {}, restarted);
  const whole = await epochs(plain);
  for (const message of whole.failures) assert.match(message, over);
  for (const failing of ["merge value params", "read trainable moment 1"]) {
    using trainer = await trainerOn(14, {}, restarted);
    const [create, read] = [gpu.createBuffer.bind(gpu), gpu.read.bind(gpu)];
    let times = 0;
    const failSecond = (label: string) => {
      if (label === failing && ++times === 2) throw new Error(`no room for ${failing}`);
    };
    gpu.createBuffer = (label, bytes, usage) => {
      failSecond(label);
      return create(label, bytes, usage);
    };
    gpu.read = (buffer, bytes, offset) => {
      failSecond(`read ${buffer.label}`);
      return read(buffer, bytes, offset);
    };
    try {
      const { failures, weights } = await epochs(trainer);
      assert.equal(failures[0], `no room for ${failing}`);
      assert.match(failures[1], over);
      assert.deepEqual(weights, whole.weights, failing);
    } finally {
      Object.assign(gpu, { createBuffer: create, read });
    }
  }
});

Deno.test("an epoch and resume wait for each other, and say so", async () => {
  const path = `${await Deno.makeTempDir()}/state`;
  using trainer = await trainerOn(14);
  await trainer.checkpoint(path);
  const resumed = trainer.resume(path);
  await assert.rejects(trainer.epoch(), /a checkpoint is being read: await it before you run the next/);
  await resumed;
  await assert.rejects(
    trainer.epoch(() => trainer.resume(path)),
    /an epoch is running: await it before you resume/,
  );
  assert.equal((await trainer.epoch()).length, 4);
});

Deno.test("the number of an epoch, which epoch() once took, is refused before a step is run", async () => {
  using trainer = await trainerOn(14);
  const before = await trainer.trainable.state();
  const call = () => trainer.epoch(0 as unknown as () => void);
  await assert.rejects(call, /epoch takes what to call after each step, not 0: it knows which epoch is next/);
  assert.deepEqual(await trainer.trainable.state(), before);
});

async function cell(
  checkpointing?: Checkpointing,
  progress: Progress = {},
  changes: Partial<Split> = {},
  { of = adapter, ...more }: Partial<FineTuneOptions> & { readonly of?: typeof adapter } = {},
) {
  const gpu = await testGpu();
  using frozen = FrozenWeights.forTraining(gpu, model);
  const split = { ...splitOfLetters(14), ...changes };
  const all = { ...options, ...more };
  const { epochs, best, last, predictions, steps, kept, trained } = await fineTune(
    { gpu, model, frozen, adapter: of, task: letters, split, ...all, ...progress, checkpointing },
  );
  return { epochs, best, last, predictions, steps, kept, trained };
}

/** Dev examples on which the model gets worse as it learns. */
const contrary: Partial<Split> = {
  dev: splitOfLetters(14).dev.map((example) => ({ ...example, label: 1 - example.label })),
};

for (const [name, of] of [["BoRA", adapter], ["ReLoRA", restarted]] as const) {
  Deno.test(`fineTune, ${name}: the best epoch's weights are those after it, the last's those after all`, async () => {
    using trainer = await trainerOn(14, { epochs: 4 }, of);
    const weights = [];
    for (let epoch = 0; epoch < 4; epoch++) {
      await trainer.epoch();
      weights.push(await trainer.weights());
    }
    const run = (keep: "best" | "last") => cell(undefined, {}, contrary, { keep, epochs: 4, of });
    const [best, last] = [await run("best"), await run("last")];
    const accuracies = best.epochs.map(({ metrics }) => metrics.accuracy);
    const first = accuracies.indexOf(Math.max(...accuracies));
    assert.ok(first < 3, `accuracies ${accuracies}: the best is not the last`);
    assert.equal(best.kept, best.epochs[first]);
    assert.deepEqual(best.best, best.kept.metrics);
    assert.deepEqual(best.trained, weights[first]);
    assert.equal(last.kept, last.epochs[3]);
    assert.deepEqual(last.trained, weights[3]);
    assert.deepEqual(last.epochs, best.epochs, "what is kept changes no step");
  });
}

Deno.test("fineTune: the best epoch's weights survive a stop after any step, and no other run takes them", async () => {
  const folder = await Deno.makeTempDir();
  const keep = { keep: "best", epochs: 4 } as const;
  const plain = await cell(undefined, {}, contrary, keep);
  for (const at of [3, 4, 5, 8, 9, 16]) {
    const place = { path: `${folder}/${at}`, every: 1, cell: "tiny" };
    const stop = { onStep: (step: number) => assert.ok(step < at, "stopped") };
    await assert.rejects(() => cell(place, stop, contrary, keep), /stopped/);
    assert.deepEqual(await cell(place, {}, contrary, keep), plain, `stopped at step ${at}`);
  }
  const place = { path: `${folder}/16`, every: 1, cell: "tiny" };
  const left = await Deno.readFile(place.path);
  await assert.rejects(
    () => cell(place, {}, contrary, { ...keep, keep: "last" }),
    /another run: it keeps the best epoch's weights, not the last's\. Go on with the run/,
  );
  assert.deepEqual(await Deno.readFile(place.path), left);
  await assert.rejects(
    () => cell(undefined, {}, {}, { keep: "bset" as "best" }),
    /keep is bset: use "best" or "last"/,
  );
});

Deno.test("a checkpoint of an older version, or of a later one, is refused by its version, and kept", async () => {
  const path = `${await Deno.makeTempDir()}/cell.checkpoint`;
  const place = { path, every: 1, cell: "tiny" };
  await cell(place);
  const { tensors, metadata } = await readSafetensors(path);
  const { version, ...older } = metadata;
  const weights = new Map(
    [...tensors].map(([name, tensor]) => [name, { shape: tensor.shape, data: toFloat32(tensor) }]),
  );
  for (const [written, own] of [["1", older], ["9", { ...metadata, version: "9" }]] as const) {
    await writeSafetensors(path, weights, own);
    const left = await Deno.readFile(path);
    const message = new RegExp(
      `is a checkpoint of version ${written}, .* \\(it writes ${version}\\)\\. Go on with`,
    );
    await assert.rejects(() => cell(place), message);
    await assert.rejects(() => checkpointedCell(path), message);
    assert.deepEqual(await Deno.readFile(path), left);
  }
});

Deno.test("what a checkpoint knows examples by is SHA-256 of their JSON, though a list is taken item by item", async () => {
  const sha256 = async (text: string) =>
    new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))).toHex();
  const { train } = splitOfLetters(3);
  for (const list of [[], [1], train, [undefined, "é", null, [train], { label: NaN }]]) {
    assert.equal(await digestOf(list), await sha256(JSON.stringify(list)));
    assert.equal(await digestOf({ list }), await sha256(JSON.stringify({ list })));
  }
});

Deno.test("a run on a base of the same name with other values, or of the same values packed, does not go on from a checkpoint", async () => {
  const path = `${await Deno.makeTempDir()}/state`;
  using trainer = await trainerOn(14);
  await trainer.checkpoint(path);
  const [name, { shape, data }] = [...model.weights].at(-1)!;
  const other = { shape, data: data.map((value, i) => i === 0 ? value + 1 : value) };
  const packed = packModel(model, "int8");
  for (
    const [base, message] of [
      [
        { ...model, weights: new Map([...model.weights, [name, other]]) },
        /another run: its base is "\w{64}"/,
      ],
      [packed, /another run: its packing is "f32", here "int8"/],
    ] as const
  ) {
    using another = await trainerOn(
      14,
      {},
      attach(base, bora, { r: 2, blocks: 4, dropout: 0.1, target }),
      base,
    );
    await assert.rejects(() => another.resume(path), { message });
  }
  using same = await trainerOn(14);
  await same.resume(path);
  // As a decoder's, whose tables have 8 bits where its layers have 4 or 8.
  const [first, ...others] = packModel(model, "int4").packed!;
  const mixed = { ...packed, packed: new Map([[first[0], packed.packed!.get(first[0])!], ...others]) };
  using ofPacked = await trainerOn(
    14,
    {},
    attach(packed, bora, { r: 2, blocks: 4, dropout: 0.1, target }),
    packed,
  );
  await ofPacked.checkpoint(path);
  using ofMixed = await trainerOn(
    14,
    {},
    attach(mixed, bora, { r: 2, blocks: 4, dropout: 0.1, target }),
    mixed,
  );
  await assert.rejects(() => ofMixed.resume(path), /another run: its packing is "int8", here "int8, int4"/);
});

Deno.test("a run whose products round their operands to f16 and one whose do not are other runs, either way", async () => {
  const path = `${await Deno.makeTempDir()}/state`;
  const { train } = splitOfLetters(8);
  const gpu = await testGpu();
  const halves = new Gpu(gpu.device, gpu.device.adapterInfo, { ...gpu.traits, halfOperands: true });
  const on = (gpu: Gpu) =>
    new Trainer({
      ...{ gpu, model, adapter, objective: objectiveOf(model, letters, train[0]) },
      ...{ examples: encodeExamples(model, letters, train), ...options },
    });
  using whole = on(gpu);
  using rounded = on(halves);
  await whole.checkpoint(path);
  await assert.rejects(() => rounded.resume(path), /another run: its operands is the default, here "f16"/);
  await rounded.checkpoint(path);
  await rounded.resume(path);
  await assert.rejects(() => whole.resume(path), /another run: its operands is "f16", here the default/);
});

Deno.test("weights that are not finite are not saved over a checkpoint", async () => {
  const path = `${await Deno.makeTempDir()}/state`;
  using trainer = await trainerOn(14);
  await trainer.epoch();
  await trainer.checkpoint(path);
  const left = await Deno.readFile(path);
  const [name, shape] = [...trainer.trainable.shapes][0];
  trainer.trainable.write(name, new Float32Array(sizeOf({ shape, dtype: "f32" })).fill(Infinity));
  await assert.rejects(
    () => trainer.checkpoint(path),
    (error: Error) =>
      error instanceof DivergedError &&
      /"values" holds values that are not finite after 4 steps/.test(error.message),
  );
  assert.deepEqual(await Deno.readFile(path), left);
});

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
  const otherMetrics = { task: { ...letters, metrics: ["f1"] as const } };
  await refused(() => cell(place, {}, {}, otherMetrics), /another run: its task's metrics, or the right/);
  await refused(() => cell(place, {}, { dev: dev.slice(1) }), /another run: its dev examples are others/);
  await refused(() => cell(place, {}, { train: train.slice(1) }), /another run: its examples is/);
  for (const bytes of [0, 7, 200, whole.length - 1]) {
    await Deno.writeFile(path, whole.subarray(0, bytes));
    await refused(() => cell(place), /cell\.checkpoint/);
  }
});

Deno.test("a checkpoint is written into a folder that is made before the first step, and an infinite score stays one", async () => {
  const folder = `${await Deno.makeTempDir()}/runs`;
  const place = { path: `${folder}/cell`, every: 1, cell: "tiny" };
  using trainer = await trainerOn(14);
  const checkpoint = await CellCheckpoint.open(trainer, place, [], {}, "best");
  assert.equal((await Deno.stat(folder)).isDirectory, true);
  await assert.rejects(
    CellCheckpoint.open(trainer, { ...place, path: folder }, [], {}, "best"),
    /runs is a folder, and the checkpoint is a file: name one in it, such as .*runs\/checkpoint$/,
  );
  const run = {
    epochs: [{ epoch: 0, trainLoss: 800, metrics: { perplexity: Infinity } }],
    trainSeconds: 1,
  };
  await checkpoint.save(run);
  assert.deepEqual((await CellCheckpoint.open(trainer, place, [], {}, "best")).saved, run);
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

/**
 * Runs a command to its end, killing it before the given numbers of its steps (`kill_at.ts`), one run after
 * another.
 */
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

/** Changes a checkpoint to one whose steps took so many seconds more. */
async function addSeconds(path: string, seconds: number): Promise<void> {
  const { tensors, metadata } = await readSafetensors(path);
  const { run, ...notes } = JSON.parse(metadata.notes);
  const saved = JSON.parse(run);
  const later = JSON.stringify({ ...saved, trainSeconds: saved.trainSeconds + seconds });
  const weights = [...tensors].map(([name, own]) =>
    [name, { shape: own.shape, data: toFloat32(own) }] as const
  );
  await writeSafetensors(path, new Map(weights), {
    ...metadata,
    notes: JSON.stringify({ ...notes, run: later }),
  });
}

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
  const resumed = start(args("stopped", "--resume"));
  await changes(checkpoint, 1);
  resumed.kill("SIGTERM");
  const said = new TextDecoder().decode((await resumed.output()).stderr);
  assert.match(said, /Stopped\. The same command goes on from the last checkpoint/);
  await Deno.writeFile(checkpoint, left);
  await addSeconds(checkpoint, 1000);

  // The golden steps of both rows are 16 steps.
  await runKilled(args("stopped", "--resume"), randomNumbers(2, 60).map((step) => 16 + step));
  assert.ok(!existsSync(checkpoint), "a finished run leaves no checkpoint");
  const cellsOf = async (out: string) => metricsOnly(await readCells(`${folder}/${out}/glue.json`));
  const logOf = (out: string) => Deno.readTextFile(`${folder}/${out}/glue.log.jsonl`);
  assert.equal(await cellsOf("stopped"), await cellsOf("whole"));
  assert.equal(await logOf("stopped"), await logOf("whole"));
  const [{ times: { trainSeconds, wallSeconds } }] = await readCells(`${folder}/stopped/glue.json`);
  assert.ok(trainSeconds > 1000 && wallSeconds > trainSeconds, `${wallSeconds} s with those before the stop`);

  // The state that a stop between writing the cell and naming it in the table's record leaves behind: a cell
  // that no record names, and its checkpoint, which no other cell may use.
  await Deno.writeFile(checkpoint, left);
  const [lora] = await cellFiles(`${folder}/stopped`, "LoRA");
  const kept = await Deno.readFile(lora);
  for (const path of [...await cellFiles(`${folder}/stopped`, "BoRA"), `${folder}/stopped/glue.json`]) {
    await Deno.remove(path);
  }
  await runKilled(args("stopped", "--resume"), []);
  assert.equal(await cellsOf("stopped"), await cellsOf("whole"));
  assert.deepEqual(await Deno.readFile(lora), kept, "the finished cell is not trained again");
});
