/**
 * A step that is not finite stops the run: no weight changes from then on, and what was saved before stays as
 * it was.
 */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { reLora } from "../lib/adapters/relora.ts";
import type { Model } from "../lib/models/model.ts";
import { classification } from "../lib/objectives/classification.ts";
import type { Encoded } from "../lib/objectives/objective.ts";
import { regression } from "../lib/objectives/regression.ts";
import { makeBatches } from "../lib/run/batches.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { DivergedError } from "../lib/train/adamw.ts";
import { fineTune } from "../lib/train/fine_tune.ts";
import { Trainer, type TrainOptions } from "../lib/train/trainer.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { letters, splitOfLetters } from "./support/letters.ts";
import { testGpu } from "./support/ops.ts";

/** The token whose embedding is not a number: only the poisoned example has it. */
const poison = 10;

function poisonous(): Model {
  const model = tinyEncoder();
  const { shape: [, width], data } = model.weights.get("embedding.weight")!;
  data.fill(NaN, poison * width, (poison + 1) * width);
  return model;
}

const model = poisonous();
const target = ["query", "value"];
const withBora = attach(model, bora, { r: 2, blocks: 4, dropout: 0.1, target });
const withReLora = attach(model, reLora, {
  ...{ r: 2, dropout: 0.1, every: 2, restartWarmup: 1, prune: 0.9, target },
});
const objective = (model: Model) => classification.of(model, { texts: 1, classes: 2 });

/** A run, and which of its batches is poisoned. */
interface Run {
  readonly count: number;
  readonly batch: number;
  /** The step that the batch belongs to. */
  readonly step: number;
  readonly options?: Partial<TrainOptions>;
  readonly adapter?: typeof withBora;
  /** The step whose checkpoint the run resumes from. */
  readonly resumedAt?: number;
}

function optionsOf({ options }: Run): TrainOptions {
  return {
    ...{ learningRate: 1e-2, epochs: 1, batchSize: 4, warmupRatio: 0.1, seed: 1, weightDecay: 0.1 },
    ...options,
  };
}

/** Texts of tokens without the poison. */
function cleanExamples({ count }: Run): Encoded[] {
  return Array.from({ length: count }, (_, i) => ({
    label: i % 2,
    texts: [Array.from({ length: 1 + (i * 3) % 12 }, (_, j) => (i % 2 * 5 + i + j) % poison)],
  }));
}

/** The same, one example of the first epoch's `batch`-th poisoned. */
function poisonedExamples(run: Run): Encoded[] {
  const examples = cleanExamples(run);
  const { batchSize, seed } = optionsOf(run);
  const { indices } = makeBatches(examples, batchSize, seed, 0)[run.batch];
  const { label, texts: [text] } = examples[indices[0]];
  return examples.with(indices[0], { label, texts: [text.map(() => poison)] });
}

async function trainerOf(run: Run, examples: readonly Encoded[]): Promise<Trainer> {
  return new Trainer({
    gpu: await testGpu(),
    model,
    adapter: run.adapter ?? withBora,
    objective: objective(model),
    examples,
    ...optionsOf(run),
  });
}

/** Everything that a step changes. */
async function everythingOf(trainer: Trainer) {
  return { state: await trainer.trainable.state(), weights: await trainer.weights() };
}

const stopped = new Error("stopped");

/** Runs the first epoch up to `step`. */
async function runTo(trainer: Trainer, step: number): Promise<void> {
  const stop = (done: number) => {
    if (done === step) throw stopped;
  };
  if (step > 0) await assert.rejects(() => trainer.epoch(stop), stopped);
}

const runs: Record<string, Run> = {
  "the first batch": { count: 22, batch: 0, step: 0 },
  "one batch in the midst": { count: 22, batch: 3, step: 3 },
  "one batch of a later ring of records": { count: 1040, batch: 1030, step: 1030, options: { batchSize: 1 } },
  "the last step of a ring": { count: 1040, batch: 1023, step: 1023, options: { batchSize: 1 } },
  "one batch after a resumption": { count: 22, batch: 4, step: 4, resumedAt: 2 },
  "the first of three batches of a step": {
    ...{ count: 22, batch: 6, step: 2, options: { batchSize: 2, accumulationSteps: 3 } },
  },
  "the second of three batches of a step, after a resumption": {
    ...{ count: 22, batch: 7, step: 2, resumedAt: 1, options: { batchSize: 2, accumulationSteps: 3 } },
  },
  "a step before ReLoRA's restart": { count: 22, batch: 3, step: 3, adapter: withReLora },
  "the step of ReLoRA's restart": { count: 22, batch: 4, step: 4, adapter: withReLora },
};

for (const [name, run] of Object.entries(runs)) {
  Deno.test(`${name} is poisoned: the run stops there, with every bit of the step before`, async () => {
    const folder = await Deno.makeTempDir();
    using clean = await trainerOf(run, cleanExamples(run));
    await runTo(clean, run.step);
    const expected = await everythingOf(clean);

    using trainer = await trainerOf(run, poisonedExamples(run));
    if (run.resumedAt !== undefined) {
      using begun = await trainerOf(run, poisonedExamples(run));
      await runTo(begun, run.resumedAt);
      await begun.checkpoint(`${folder}/begun`);
      await trainer.resume(`${folder}/begun`);
    }
    const advice = run.step === 0
      ? "before any weight moved: look at the data"
      : "with the weights of the step before; use a lower learning rate or look at the data";
    const message = new RegExp(
      `^Step ${run.step}: loss NaN, gradient norm NaN\\. Training stopped ${advice}`,
    );
    const refused = (use: () => Promise<unknown>) =>
      assert.rejects(use, (error: Error) => {
        assert.ok(error instanceof DivergedError);
        assert.match(error.message, message);
        return true;
      });
    await refused(() => trainer.epoch());
    assert.deepEqual(await everythingOf(trainer), expected);

    const file = `${folder}/checkpoint`;
    await Deno.writeTextFile(file, "the last good one");
    for (const use of [() => trainer.checkpoint(file), () => trainer.epoch(), () => trainer.records()]) {
      await refused(use);
    }
    assert.equal(await Deno.readTextFile(file), "the last good one");
    assert.deepEqual([...Deno.readDirSync(folder)].filter(({ name }) => name !== "begun").length, 1);
    assert.deepEqual(await everythingOf(trainer), expected);
  });
}

Deno.test("after catching a checkpoint's error during the epoch, going on throws it again", async () => {
  const run = runs["one batch in the midst"];
  const folder = await Deno.makeTempDir();
  using trainer = await trainerOf(run, poisonedExamples(run));
  const saved: number[] = [];
  const save = async (step: number) => {
    try {
      await trainer.checkpoint(`${folder}/state`);
      saved.push(step);
    } catch (error) {
      assert.ok(error instanceof DivergedError);
    }
  };
  await assert.rejects(() => trainer.epoch(save), DivergedError);
  assert.deepEqual(saved, [1, 2, 3]);
  using clean = await trainerOf(run, poisonedExamples(run));
  await runTo(clean, 3);
  using resumed = await trainerOf(run, poisonedExamples(run));
  await resumed.resume(`${folder}/state`);
  assert.deepEqual(await everythingOf(resumed), await everythingOf(clean));

  // After loading an earlier checkpoint, the same trainer is as good as a new one.
  await trainer.resume(`${folder}/state`);
  await trainer.checkpoint(`${folder}/again`);
  assert.deepEqual(await Deno.readFile(`${folder}/again`), await Deno.readFile(`${folder}/state`));
  await assert.rejects(() => trainer.epoch(), /Step 3: loss NaN/);
});

Deno.test("a loss that is not finite stops the run where the gradient is finite", async () => {
  const gpu = await testGpu();
  const onNumbers = regression.of(model, { texts: 1, classes: 0 });
  const options = { learningRate: 1e-2, epochs: 1, batchSize: 16, warmupRatio: 0, seed: 0 };
  const examples = cleanExamples({ count: 16, batch: 0, step: 0 }).map((example, i) => ({
    ...example,
    // Its square is above the largest float32; its gradient, 2x/16, is not.
    label: i === 5 ? 1.9e19 : 0,
  }));
  using trainer = new Trainer({ gpu, model, adapter: withBora, objective: onNumbers, examples, ...options });
  const before = await everythingOf(trainer);
  await assert.rejects(
    () => trainer.epoch(),
    /Step 0: loss Infinity, gradient norm \d+\. .* before any weight moved: look at the data, such as labels too large/,
  );
  assert.deepEqual(await everythingOf(trainer), before);
});

Deno.test("fineTune: the last checkpoint before a step that is not finite stays, and resumed the run stops at the same step", async () => {
  const [gpu, own] = [await testGpu(), tinyEncoder()];
  const path = `${await Deno.makeTempDir()}/cell.checkpoint`;
  const { train, dev } = splitOfLetters(14);
  using frozen = FrozenWeights.forTraining(gpu, own);
  const adapter = attach(own, bora, { r: 2, blocks: 4, target });
  // The learning rate is so high that the loss of some step becomes infinite or NaN.
  const options = { learningRate: 1e20, epochs: 2, batchSize: 4, warmupRatio: 0, seed: 1 };
  const run = () =>
    fineTune({
      gpu,
      model: own,
      frozen,
      adapter,
      task: letters,
      split: { train, dev },
      ...options,
      checkpointing: {
        path,
        every: 1,
        cell: "tiny",
      },
    });
  let first = "";
  await assert.rejects(run, (error: Error) => {
    first = error.message;
    return error instanceof DivergedError;
  });
  const left = await Deno.readFile(path);
  await assert.rejects(run, new DivergedError(first));
  assert.deepEqual(await Deno.readFile(path), left);
});
