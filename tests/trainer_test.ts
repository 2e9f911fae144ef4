/** The trainer: deterministic, a replayed program, one submit a step, and a clear stop on NaN. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { full } from "../lib/adapters/base_only.ts";
import { bora } from "../lib/adapters/bora.ts";
import { methods } from "../lib/adapters/registry.ts";
import { taskByName } from "../lib/data/registry.ts";
import type { Example } from "../lib/data/task.ts";
import { openGpu } from "../lib/gpu/device.ts";
import { compile } from "../lib/graph/compile.ts";
import { Graph, sizeOf } from "../lib/graph/graph.ts";
import { add } from "../lib/graph/ops/binary.ts";
import { crossEntropy } from "../lib/graph/ops/losses.ts";
import { linear } from "../lib/graph/ops/product/product.ts";
import type { Model } from "../lib/models/model.ts";
import { comparedPairs } from "../lib/models/pairing.ts";
import { zeros } from "../lib/models/parameter.ts";
import { readSafetensors } from "../lib/models/safetensors.ts";
import { choice } from "../lib/objectives/choice.ts";
import { classification } from "../lib/objectives/classification.ts";
import type { Encoded, Objective } from "../lib/objectives/objective.ts";
import { objectiveOf } from "../lib/objectives/registry.ts";
import { regression } from "../lib/objectives/regression.ts";
import { batchInputs, bucketOf, inputArrays, makeBatches } from "../lib/run/batches.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { AdaptedModel } from "../lib/train/adapted_model.ts";
import { DivergedError } from "../lib/train/adamw.ts";
import { fineTune } from "../lib/train/fine_tune.ts";
import { linearSchedule } from "../lib/train/schedule.ts";
import { Trainer, type TrainOptions } from "../lib/train/trainer.ts";
import { lossesInFloat64 } from "../tasks/conformance/float64_training.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { letters, splitOfLetters } from "./support/letters.ts";
import { testGpu } from "./support/ops.ts";

const options: TrainOptions = { learningRate: 1e-2, epochs: 3, batchSize: 4, warmupRatio: 0.1, seed: 1 };
const tiny = tinyEncoder();
const heads: Record<string, Objective> = {
  single: classification.of(tiny, { texts: 1, classes: 2 }),
  pair: classification.of(tiny, { texts: 2, classes: 2 }),
  choice: choice.of(tiny, { texts: 4, classes: 0 }),
  regression: regression.of(tiny, { texts: 1, classes: 0 }),
};

function examplesFor({ sequences }: Objective, count = 22): Encoded[] {
  return Array.from({ length: count }, (_, i) => ({
    label: i % 2,
    texts: Array.from(
      { length: sequences },
      (_, t) => Array.from({ length: 1 + (i * 3 + t) % 12 }, (_, j) => (i % 2 * 5 + j + t) % 11),
    ),
  }));
}

async function trainerFor(
  objective: Objective,
  model: Model = tinyEncoder(),
  changes: Partial<TrainOptions> = {},
) {
  const adapter = attach(model, bora, {
    r: 2,
    alpha: 4,
    blocks: 4,
    dropout: 0.1,
    target: ["query", "value"],
  });
  return new Trainer({
    gpu: await testGpu(),
    model,
    adapter,
    objective,
    examples: examplesFor(objective),
    ...options,
    ...changes,
  });
}

for (const [name, objective] of Object.entries(heads)) {
  Deno.test(`${name}: the loss falls, and two runs with one seed agree in every bit`, async () => {
    const run = async () => {
      using trainer = await trainerFor(objective);
      const records = [];
      for (let epoch = 0; epoch < options.epochs; epoch++) records.push(...await trainer.epoch());
      return {
        records,
        scores: await trainer.predict(examplesFor(objective)),
        weights: await trainer.trainable.read(),
      };
    };
    const [first, second] = [await run(), await run()];
    assert.deepEqual(first, second);
    assert.equal(first.records.length, 18);
    assert.deepEqual(first.records.map(({ step }) => step), Array.from({ length: 18 }, (_, i) => i));
    const mean = (from: number) =>
      first.records.slice(from, from + 6).reduce((sum, { loss }) => sum + loss, 0) / 6;
    assert.ok(mean(12) < mean(0), `mean loss ${mean(0)} to ${mean(12)}`);
    assert.equal(first.scores.length, 22);
    assert.ok(first.scores.every((row) => row.every(Number.isFinite)));
  });
}

Deno.test("after the first epoch a step makes no buffer, bind group or pipeline, and submits once", async () => {
  using gpu = await openGpu();
  const model = tinyEncoder();
  const adapter = attach(model, bora, { r: 2, alpha: 4, blocks: 4, target: ["query"] });
  using trainer = new Trainer({
    gpu,
    model,
    adapter,
    objective: heads.single,
    examples: examplesFor(heads.single),
    ...options,
  });
  await trainer.epoch();
  const counts: Record<string, number> = {};
  const count = (target: object, name: string) => {
    const original = Reflect.get(target, name) as (...args: unknown[]) => unknown;
    Object.defineProperty(target, name, {
      configurable: true,
      value: (...args: unknown[]) => {
        counts[name] = (counts[name] ?? 0) + 1;
        return original.apply(target, args);
      },
    });
  };
  for (
    const name of ["createBuffer", "createBindGroup", "createComputePipelineAsync", "createShaderModule"]
  ) {
    count(gpu.device, name);
  }
  count(gpu.device.queue, "submit");
  let submitsInSteps = 0;
  await trainer.epoch(() => submitsInSteps = counts.submit);
  // One empty submit every 64 uploads frees wgpu's staging memory: 6 steps of 5 uploads stay below it or meet it once.
  assert.ok(submitsInSteps === 6 || submitsInSteps === 7, `${submitsInSteps} submits in 6 steps`);
  assert.deepEqual({ ...counts, submit: 0, createBuffer: 0 }, { submit: 0, createBuffer: 0 });
  assert.equal(counts.createBuffer, 1, "only the staging buffer of the epoch's one read-back");
});

Deno.test("a loss that is not finite stops the run, names the step, and leaves the weights as they were", async () => {
  const model = tinyEncoder();
  model.weights.get("norm.weight")!.data[0] = NaN;
  using trainer = await trainerFor(heads.single, model);
  const before = await trainer.trainable.read();
  await assert.rejects(
    () => trainer.epoch(),
    /Step 0: loss .*, gradient norm NaN\. .* before any weight moved: look at the data,.* weights\.$/s,
  );
  assert.deepEqual(await trainer.trainable.read(), before);
});

Deno.test("predictions that are not finite after the last step stop the run and are no wrong answers", async () => {
  const model = tinyEncoder();
  const adapter = attach(model, bora, { r: 2, alpha: 4, blocks: 4, target: ["query", "value"] });
  const broken = { ...options, epochs: 1, batchSize: 14, warmupRatio: 0, learningRate: 1e30 };
  const parts = { gpu: await testGpu(), model, adapter, task: letters, split: splitOfLetters(14) };
  await assert.rejects(
    () => fineTune({ ...parts, ...broken }),
    (error) =>
      error instanceof DivergedError &&
      /^dev, example 0: the model predicts (NaN, NaN|-?Infinity, -?Infinity) after the epoch: use a lower/
        .test(error.message),
  );
});

Deno.test("what cannot be trained is refused up front, with what to change, and nothing is left on the GPU", async () => {
  const gpu = await testGpu();
  const before = gpu.memory.buffers;
  const cases: [Partial<TrainOptions>, RegExp][] = [
    [{ epochs: 0 }, /epochs is 0: use a whole number from 1/],
    [{ batchSize: 0 }, /batchSize is 0: use a whole number from 1/],
    [{ batchSize: 2.5 }, /batchSize is 2\.5/],
    [{ accumulationSteps: 0 }, /accumulationSteps is 0/],
    [{ learningRate: NaN }, /learningRate is NaN/],
    [{ learningRate: 1e39 }, /learningRate is 1e\+39: use a number from 0 that a float32 holds/],
    [{ epsilon: 1e-46 }, /epsilon is 1e-46: use a number from 2⁻¹²⁶/],
    [{ warmupRatio: 2 }, /warmupRatio is 2: use a share/],
    [{ warmupRatio: undefined, warmupSteps: 1.5 }, /warmupSteps is 1\.5: use a whole number from 0/],
    [{ warmupRatio: undefined, warmupSteps: -1 }, /warmupSteps is -1/],
    [{ warmupRatio: 0, warmupSteps: 3 }, /warmupRatio is 0 and warmupSteps is 3: give one of the two/],
    [{ seed: -1 }, /seed is -1/],
    [{ beta2: 1 }, /beta2 is 1/],
    [{ beta2: 1 - 1e-9 }, /beta2 is 0\.999999999: use a number in \[0, 1\) that a float32 tells from 1/],
    [{ epochs: undefined }, /epochs is undefined: use a whole number from 1/],
    [{ warmupRatio: "0.1" as unknown as number }, /warmupRatio is 0\.1: use a share/],
    [{ recompute: 1 as unknown as boolean }, /recompute is 1: use true or false/],
    [
      { learningrate: 1e-3 } as Partial<TrainOptions>,
      /the trainer has no option "learningrate"; it has gpu, model, adapter, objective, examples, frozen, learningRate, .*maxNorm$/,
    ],
  ];
  for (const [changes, message] of cases) {
    await assert.rejects(() => trainerFor(heads.single, tinyEncoder(), changes), message);
  }
  const adapter = attach(tinyEncoder(), bora, { r: 2, blocks: 4, target: ["query"] });
  const withExamples = (objective: Objective, examples: Encoded[]) => () =>
    new Trainer({ gpu, model: tinyEncoder(), adapter, objective, examples, ...options });
  assert.throws(withExamples(heads.single, []), /no training examples/);
  const one = { texts: [[1, 2]], label: 1 };
  assert.throws(
    withExamples(heads.single, [one, { ...one, label: 2 }]),
    /example 1: label 2 is not one of 0 … 1/,
  );
  assert.throws(withExamples(heads.single, [{ ...one, label: 0.5 }]), /label 0\.5 is not one of/);
  assert.throws(withExamples(heads.regression, [{ ...one, label: NaN }]), /value NaN is not a finite number/);
  const choice = { texts: [[1], [2], [3], [4]], label: 3 };
  assert.throws(withExamples(heads.choice, [choice]), /label 3 is not one of 0 … 2/);
  assert.throws(withExamples(heads.pair, [one]), /example 0 has 1 texts; the head takes 2/);
  assert.throws(withExamples(heads.single, [{ texts: [[]], label: 0 }]), /example 0 has an empty text/);
  for (const id of [11, -1, 1.5, NaN]) {
    assert.throws(
      withExamples(heads.single, [one, { texts: [[1, id]], label: 0 }]),
      new RegExp(`example 1: token ${id} is not one of tiny's 0 … 10: .*use this model's own`),
    );
  }
  assert.throws(
    withExamples(heads.single, [{ texts: [Array<number>(17).fill(1)], label: 0 }]),
    /example 0 has 17 tokens; tiny has positions for 16: cut it/,
  );
  assert.equal(gpu.memory.buffers, before);
});

Deno.test("fineTune without examples to train on, or to evaluate on, is refused before anything is trained", async () => {
  const [gpu, model, task] = [await testGpu(), tinyEncoder(), taskByName("sentiment")];
  const adapter = attach(model, bora, { r: 2, blocks: 4, target: ["query"] });
  using frozen = FrozenWeights.of(gpu, model);
  const some = [{ id: "a", texts: ["abc"], label: 1 }];
  for (
    const [split, message] of [
      [{ train: [], dev: some }, /no training examples/],
      [{ train: some, dev: [] }, /no examples to evaluate on: hold some of train out/],
      [{ train: some, dev: some, furtherDev: { b: [] } }, /no examples to evaluate on/],
    ] as const
  ) {
    const trained = () => fineTune({ gpu, model, frozen, adapter, task, split, ...options });
    await assert.rejects(trained, message);
  }
});

Deno.test("a run says which part of it is missing, a promise or something else", async () => {
  const [gpu, task] = [await testGpu(), taskByName("sentiment")];
  const adapter = attach(tiny, bora, { r: 2, blocks: 4, target: ["query"] });
  const training = {
    gpu,
    model: tiny,
    adapter,
    objective: heads.single,
    examples: examplesFor(heads.single),
  };
  const tuning = { gpu, model: tiny, adapter, task };
  const from: Readonly<Record<string, string>> = {
    gpu: "openGpu",
    model: "loadEncoder, loadUseLite or loadDecoder",
    adapter: "attach",
    objective: "objectiveOf",
    examples: "encodeExamples",
    task: "taskByName or loadOwnTask",
  };
  const train = (changes: object) => void new Trainer({ ...training, ...options, ...changes });
  const tune = async (changes: object) => void await fineTune({ ...tuning, ...options, ...changes });
  for (const [start, parts] of [[train, training], [tune, tuning]] as const) {
    for (const part of Object.keys(parts)) {
      const refused = (value: unknown, message: string) =>
        assert.rejects(async () => await start({ [part]: value }), new RegExp(message));
      await refused(undefined, `its ${part} is undefined: give what ${from[part]} returns`);
      await refused("x", `its ${part} is "x"`);
      await refused({}, `its ${part} is something else`);
      await refused(Promise.resolve(), `${part} is a promise; await it`);
    }
  }
  await assert.rejects(
    () => tune({ modle: tiny }),
    /fineTune has no option "modle"; it has gpu, .*, split, .*seed/,
  );
  const raw = [{ id: "a", texts: ["abc"], label: 1 }];
  assert.throws(() => train({ examples: raw }), /example 0 has texts and no token ids: give what encode/);
});

Deno.test("fineTune refuses what it cannot score, label or checkpoint, before anything is trained", async () => {
  const [gpu, model, sentiment] = [await testGpu(), tinyEncoder(), taskByName("sentiment")];
  const adapter = attach(model, bora, { r: 2, blocks: 4, target: ["query"] });
  const tokenizer = { ...model.tokenizer, encode: () => [1, 2] };
  const reading = { ...model, tokenizer, pairing: comparedPairs(tokenizer) };
  const some = [{ id: "a", texts: ["abc"], label: 1 }];
  const checkpointing = { path: "x", every: 1, cell: "y" };
  const refused = async (
    message: RegExp,
    changes: object,
    task: object = {},
    dev: readonly Example[] = some,
  ) => {
    const parts = {
      gpu,
      model: reading,
      adapter,
      task: { ...sentiment, ...task },
      split: { train: some, dev },
    };
    await assert.rejects(() => fineTune({ ...parts, ...options, ...changes }), message);
  };
  const before = gpu.memory.buffers;
  await refused(/the task sentiment has no metrics: name at least one/, {}, { metrics: [] });
  await refused(/has the metric "accurcy"; there are accuracy, macroF1/, {}, { metrics: ["accurcy"] });
  const three = ["a", "b", "c"];
  for (
    const [task, message] of [
      [{ objective: "regression", metrics: ["accuracy"] }, /accuracy is of classes/],
      [{ metrics: ["perplexity"] }, /perplexity is of texts that are learnt/],
      [{ labels: three, metrics: ["accuracy", "f1"] }, /f1 is of two classes/],
      [{ labels: three, metrics: ["matthews"] }, /matthews is of two classes/],
      [{ objective: "language", metrics: ["pearson"] }, /pearson is not of texts that are learnt/],
    ] as const
  ) {
    const why = new RegExp(`the task sentiment cannot be scored by its metrics: ${message.source}`);
    await refused(why, {}, task);
  }
  const twice = { labels: ["a", "b", "b"], metrics: ["accuracy"] };
  await refused(/the task sentiment has two classes "b": give each a name/, {}, twice);
  const named = { split: { train: some, dev: some, furtherDev: { dev: some } } };
  await refused(/a further dev set is named "dev", which is the main one/, named);
  await refused(/a: the task's maxTokens is 0: use a whole number from 1/, {}, { maxTokens: 0 });
  await refused(/dev, example 0: label 7 is not one of 0 … 1/, {}, {}, [{ ...some[0], label: 7 }]);
  await refused(/b: the example has no texts/, {}, {}, [{ id: "b", texts: [], label: 0 }]);
  for (
    const [changes, message] of [
      [{ pth: "x" }, /checkpointing has no option "pth"; it has path, every, cell/],
      [{ path: undefined }, /checkpointing.path is undefined: give it a text/],
      [{ path: "" }, /checkpointing.path is empty: give it a text/],
      [{ cell: undefined }, /checkpointing.cell is undefined: give it a text/],
      [{ every: 0 }, /checkpointing.every is 0: use a whole number of steps from 1/],
    ] as const
  ) {
    await refused(message, { checkpointing: { ...checkpointing, ...changes } });
  }
  assert.equal(gpu.memory.buffers, before);
});

Deno.test("texts that the model cannot take are refused before they are predicted, and no text is no mistake", async () => {
  using trainer = await trainerFor(heads.single);
  const foreign = [{ texts: [[1, 11]], label: 0 }];
  await assert.rejects(() => trainer.prepare(foreign), /example 0: token 11 is not one of tiny's/);
  await assert.rejects(() => trainer.predict(foreign), /example 0: token 11 is not one of tiny's/);
  using adapted = new AdaptedModel(await testGpu(), tinyEncoder());
  await assert.rejects(
    () => adapted.predict(heads.single, foreign),
    /example 0: token 11 is not one of tiny's/,
  );
  assert.deepEqual(await trainer.predict([]), []);
});

Deno.test("an allocation that fails half-way leaves nothing behind", async () => {
  using gpu = await openGpu();
  const model = tinyEncoder();
  const adapter = attach(model, bora, { r: 2, blocks: 4, target: ["query"] });
  const create = gpu.createBuffer.bind(gpu);
  for (const failing of ["trainable gradients", "adamw schedule", "loss ring"]) {
    gpu.createBuffer = (label, bytes, usage) => {
      if (label === failing) throw new Error(`no room for ${label}`);
      return create(label, bytes, usage);
    };
    assert.throws(
      () =>
        new Trainer({
          gpu,
          model,
          adapter,
          objective: heads.single,
          examples: examplesFor(heads.single),
          ...options,
        }),
      new RegExp(`no room for ${failing}`),
    );
    assert.equal(gpu.memory.buffers, 0, failing);
  }
  gpu.createBuffer = create;
  const graph = new Graph();
  const y = linear(graph.input("x", [3, 4]), graph.input("w", [5, 4]));
  for (const failing of ["arena 0", "program w", "program params"]) {
    gpu.createBuffer = (label, bytes, usage) => {
      if (label === failing) throw new Error(`no room for ${label}`);
      return create(label, bytes, usage);
    };
    const compiled = compile(gpu, [y], { label: "program", weights: () => assert.fail("has no weights") });
    await assert.rejects(() => compiled, new RegExp(`no room for ${failing}`));
    assert.equal(gpu.memory.buffers, 0, failing);
  }
});

Deno.test("accumulation: two batches of 2 make the step of one batch of 4, and a step that is short counts its own", async () => {
  const examples: Encoded[] = Array.from({ length: 4 }, (_, i) => ({
    label: i % 2,
    texts: [Array.from({ length: 3 + i }, (_, j) => (i * 5 + j) % 11)],
  }));
  const run = (changes: Partial<TrainOptions>) => runOn(heads.single, examples, changes);
  const [whole, parts] = [await run({}), await run({ batchSize: 2, accumulationSteps: 2 })];
  assert.equal(parts.steps, 3);
  assert.ok(
    relativeError(parts.records.map(({ loss }) => loss), whole.records.map(({ loss }) => loss)) < 1e-5,
  );
  assert.ok(relativeError(parts.weights, whole.weights) < 1e-4);
  // One batch only, of a step that could take three.
  const short = await run({ accumulationSteps: 3 });
  assert.deepEqual(short.weights, whole.weights);
  assert.deepEqual(short.records, whole.records);
  const odd = await run({ batchSize: 1, accumulationSteps: 3 });
  assert.equal(odd.steps, 6);
  assert.deepEqual(odd.records.map(({ step }) => step), [0, 1, 2, 3, 4, 5]);
});

/** Records and weights of a run without dropout. */
async function runOn(objective: Objective, examples: readonly Encoded[], changes: Partial<TrainOptions>) {
  const model = tinyEncoder();
  const adapter = attach(model, bora, { r: 2, alpha: 4, blocks: 4, target: ["query", "value"] });
  const all = { ...options, ...changes };
  using trainer = new Trainer({ gpu: await testGpu(), model, adapter, objective, examples, ...all });
  const records = [];
  for (let epoch = 0; epoch < all.epochs; epoch++) records.push(...await trainer.epoch());
  const weights = [...(await trainer.trainable.read()).values()].flatMap((values) => [...values]);
  return { records, weights, steps: trainer.steps };
}

for (const [name, objective] of Object.entries(heads)) {
  Deno.test(`${name}: every example of a step weighs the same, however its batches are cut`, async () => {
    const examples = examplesFor(objective, 7).map((example, i) => ({ ...example, label: (i * 3 + 1) % 2 }));
    // Clipping makes each step depend on its norm. ε keeps rounding noise in zero gradients (a choice's bias)
    // small.
    const changes = { epochs: 3, maxNorm: 0.1, warmupRatio: 0, epsilon: 1e-4 };
    const whole = await runOn(objective, examples, { ...changes, batchSize: 7 });
    assert.ok(whole.records.every(({ gradientNorm }) => gradientNorm > 0.1), "clipping is exercised");
    const figures = ({ records }: typeof whole) =>
      records.flatMap(({ loss, gradientNorm }) => [loss, gradientNorm]);
    for (const [batchSize, accumulationSteps] of [[4, 2], [6, 2], [5, 3], [2, 4], [3, 9], [1, 7]]) {
      const parts = await runOn(objective, examples, { ...changes, batchSize, accumulationSteps });
      assert.equal(parts.steps, 3);
      const name = `${accumulationSteps} batches of ${batchSize}`;
      assert.ok(relativeError(figures(parts), figures(whole)) < 1e-5, name);
      assert.ok(relativeError(parts.weights, whole.weights) < 1e-4, name);
    }
  });
}

Deno.test("the losses of uneven batches, the last step's fewer among them, are float64's", async () => {
  const examples = examplesFor(heads.single, 9);
  const changes = { batchSize: 2, accumulationSteps: 3, epochs: 2 };
  const { records } = await runOn(heads.single, examples, changes);
  assert.equal(records.length, 4);
  const model = tinyEncoder();
  const adapter = attach(model, bora, { r: 2, alpha: 4, blocks: 4, target: ["query", "value"] });
  const expected = lossesInFloat64(model, adapter, heads.single, examples, { ...options, ...changes });
  assert.ok(relativeError(records.map(({ loss }) => loss), expected) < 1e-5);
});

Deno.test("accumulation: a run with dropout, resumed, ends in the same bits", async () => {
  const changes = { batchSize: 2, accumulationSteps: 3 };
  const path = `${await Deno.makeTempDir()}/state.safetensors`;
  using whole = await trainerFor(heads.single, tinyEncoder(), changes);
  await whole.epoch();
  await whole.checkpoint(path);
  const records = await whole.epoch();
  using resumed = await trainerFor(heads.single, tinyEncoder(), changes);
  await resumed.resume(path);
  assert.deepEqual(await resumed.epoch(), records);
  assert.deepEqual(await resumed.trainable.read(), await whole.trainable.read());
});

Deno.test("an epoch beyond the planned steps is refused", async () => {
  using trainer = await trainerFor(heads.single, tinyEncoder(), { epochs: 1 });
  await trainer.epoch();
  await assert.rejects(() => trainer.epoch(), /all 1 epochs have been run: plan more/);
});

for (const names of [["head.one"], ["head.one", "head.other"]]) {
  Deno.test(`summands of the scores are trained, each like the others: ${names}`, async () => {
    const single = heads.single;
    const spec = { shape: [4, 2], init: zeros } as const;
    const summed: Objective = {
      ...single,
      parameters: new Map([...single.parameters, ...names.map((name) => [name, spec] as const)]),
      trace(step) {
        const { graph, shape: { examples } } = step;
        const { predictions } = single.trace(step);
        const sum = names.map((name) => graph.weight(name, spec.shape, true)).reduce((a, b) => add(a, b));
        const [labels, weights] = [
          graph.input("labels", [examples], "u32"),
          graph.input("weights", [examples]),
        ];
        return { predictions, loss: crossEntropy(add(predictions, sum), labels, weights) };
      },
    };
    using trainer = await trainerFor(summed);
    await trainer.epoch();
    const weights = await trainer.weights();
    assert.ok(weights.get("head.one")!.data.some((value) => value !== 0));
    for (const name of names) assert.deepEqual(weights.get(name), weights.get("head.one"));
  });
}

Deno.test("an epoch is refused while another runs, and one that is disposed of stops", async () => {
  const trainer = await trainerFor(heads.single);
  const first = trainer.epoch();
  await assert.rejects(trainer.epoch(), /an epoch is running: await it before you run the next/);
  assert.equal((await first).length, 6);
  const second = trainer.epoch();
  trainer[Symbol.dispose]();
  await assert.rejects(second, /disposed of/);
  const predicting = await trainerFor(heads.single);
  const before = (await testGpu()).memory.buffers;
  const predictions = predicting.predict(examplesFor(heads.single));
  predicting[Symbol.dispose]();
  await assert.rejects(predictions, /disposed of/);
  assert.ok((await testGpu()).memory.buffers < before);
});

Deno.test("objectives say how many texts and classes they are of", () => {
  for (const texts of [0, 3]) {
    assert.throws(
      () => classification.of(tiny, { texts, classes: 2 }),
      new RegExp(`classification is of a text or of a pair of texts, and these examples have ${texts}`),
    );
    assert.throws(() => regression.of(tiny, { texts, classes: 0 }), /regression is of a text or of a pair/);
  }
  assert.throws(() => classification.of(tiny, { texts: 1, classes: 1 }), /wants 2 classes or more, not 1/);
  assert.throws(
    () => choice.of(tiny, { texts: 1, classes: 0 }),
    /choice is of a question and its options, 2 texts or more, and these examples have 1/,
  );
  const named = (objective: string) => ({ objective: objective as "choice", labels: [] });
  for (const name of ["clasification", "toString"]) {
    assert.throws(
      () => objectiveOf(tiny, named(name), { texts: ["a"] }),
      new RegExp(`there is no objective "${name}"; there are classification, regression, choice, language`),
    );
  }
});

Deno.test("an adapter of another model is refused by the trainer and by AdaptedModel", async () => {
  const gpu = await testGpu();
  const [first, ...others] = tiny.linears;
  const changed = (linears: Model["linears"], weights = tiny.weights): Model => ({
    ...tiny,
    linears,
    weights,
  });
  const adapter = (model: Model) => attach(model, bora, { r: 2, blocks: 4, target: "all-linear" });
  const wide = { ...first, m: first.m + 4 };
  for (
    const [other, message] of [
      [
        adapter(changed([{ ...first, path: "elsewhere" }, ...others])),
        /on "elsewhere", and tiny has no such/,
      ],
      [adapter(changed([wide, ...others])), /which in tiny is \[\d+, \d+\]; .* attach it to tiny/],
      [
        attach(
          changed(
            tiny.linears,
            new Map([...tiny.weights, ["more", { shape: [1], data: new Float32Array(1) }]]),
          ),
          full,
          {
            target: "all-linear",
          },
        ),
        /trains "more", and tiny has no such weight/,
      ],
    ] as const
  ) {
    const parts = { gpu, model: tiny, adapter: other, objective: heads.single };
    assert.throws(() => new Trainer({ ...parts, examples: examplesFor(heads.single), ...options }), message);
    using adapted = new AdaptedModel(gpu, tiny);
    assert.throws(() => adapted.add("it", other, new Map()), message);
    assert.deepEqual(adapted.names, []);
  }
});

Deno.test("a trainer that has been disposed of says so", async () => {
  const trainer = await trainerFor(heads.single);
  await trainer.epoch();
  trainer[Symbol.dispose]();
  for (
    const use of [
      () => trainer.epoch(),
      () => trainer.predict(examplesFor(heads.single)),
      () => trainer.weights(),
      () => trainer.records(),
      () => trainer.checkpoint("x"),
      () => trainer.resume("x"),
    ]
  ) {
    await assert.rejects(use, /this trainer has been disposed of/);
  }
});

Deno.test("kept weights stay as they were, here and in checkpoints; without any a checkpoint has no room for them", async () => {
  const path = `${await Deno.makeTempDir()}/state`;
  const names = async () => [...(await readSafetensors(path)).tensors.keys()].toSorted();
  using trainer = await trainerFor(heads.single);
  await trainer.epoch();
  await trainer.checkpoint(path);
  assert.deepEqual(await names(), ["moment1", "moment2", "values"]);
  assert.equal(trainer.kept, undefined);
  const first = await trainer.weights();
  await trainer.keep();
  await trainer.epoch();
  assert.notDeepEqual(await trainer.weights(), first);
  assert.deepEqual(trainer.kept, first);
  await trainer.checkpoint(path);
  assert.equal((await names()).length, 3 + first.size);
  using resumed = await trainerFor(heads.single);
  await resumed.resume(path);
  assert.deepEqual(resumed.kept, first);
  assert.deepEqual(await resumed.weights(), await trainer.weights());
});

/** The names that transformers' Trainer spares from decay (5.18, `get_decay_parameter_names`). */
const spared = /bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)/;

for (const method of methods) {
  Deno.test(`${method.name}: weight decay touches all that is trained but biases and norms`, async () => {
    const model = tinyEncoder();
    const own = Object.entries({ r: 4, blocks: 4 }).filter(([name]) => name in method.defaults);
    const adapter = attach(model, method, { ...Object.fromEntries(own), target: "all-linear" });
    const once = { ...options, epochs: 1, batchSize: 22, warmupRatio: 0 };
    const after = async (weightDecay: number) => {
      using trainer = new Trainer({
        gpu: await testGpu(),
        model,
        adapter,
        objective: heads.single,
        examples: examplesFor(heads.single),
        ...once,
        weightDecay,
      });
      // Where a tensor starts from 0 there is nothing to decay.
      for (const [name, shape] of trainer.trainable.shapes) {
        trainer.trainable.write(name, new Float32Array(sizeOf({ shape, dtype: "f32" })).fill(0.25));
      }
      await trainer.epoch();
      return await trainer.trainable.read();
    };
    const [with0, with5] = [await after(0), await after(5)];
    for (const [name, values] of with0) {
      const decayed = with5.get(name)!.some((value, i) => value !== values[i]);
      assert.equal(decayed, !spared.test(name), name);
    }
  });
}

Deno.test("a warm-up of as many steps as a share of them gives the same bits", async () => {
  const run = async (changes: Partial<TrainOptions>) => {
    using trainer = await trainerFor(heads.single, tinyEncoder(), changes);
    return [await trainer.epoch(), await trainer.weights()];
  };
  // 18 steps: the share is of two.
  const bySteps = await run({ warmupRatio: undefined, warmupSteps: 2 });
  assert.deepEqual(bySteps, await run({ warmupRatio: 0.1 }));
  assert.notDeepEqual(bySteps, await run({ warmupRatio: undefined, warmupSteps: 3 }));
});

Deno.test("a trainer gives back every buffer", async () => {
  const gpu = await testGpu();
  const before = gpu.memory;
  {
    using trainer = await trainerFor(heads.pair);
    await trainer.epoch();
    await trainer.predict(examplesFor(heads.pair));
    assert.ok(gpu.memory.buffers > before.buffers);
  }
  assert.deepEqual({ ...gpu.memory, peakBytes: 0 }, { ...before, peakBytes: 0 });
});

Deno.test("batches: every example once, one batch not full, lengths that hold their texts", () => {
  const examples = examplesFor(heads.pair, 45);
  const batches = makeBatches(examples, 4, 3, 2);
  assert.deepEqual(
    batches.flatMap(({ indices }) => indices).sort((a, b) => a - b),
    examples.map((_, i) => i),
  );
  assert.equal(batches.filter(({ indices }) => indices.length < 4).length, 1);
  for (const { length, indices } of batches) {
    assert.ok(indices.every((index) => examples[index].texts.every((text) => text.length <= length)));
  }
  assert.notDeepEqual(makeBatches(examples, 4, 3, 1), batches);
  assert.notDeepEqual(makeBatches(examples, 4, 4, 2), batches);
});

Deno.test("padded lengths: few up to 512, as they always were, and multiples of 128 beyond, whatever the length", () => {
  const padded = (length: number) => bucketOf({ texts: [Array<number>(length).fill(0)], label: 0 });
  const upTo512 = [...new Set(Array.from({ length: 512 }, (_, i) => padded(i + 1)))];
  assert.deepEqual(upTo512, [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]);
  assert.deepEqual([513, 640, 641, 1000, 4096, 4097, 100_000].map(padded), [
    ...[640, 640, 768, 1024, 4096, 4224, 100_096],
  ]);
  const lengths = [700, 3, 600, 2000, 5, 640, 1999, 9];
  const texts = lengths.map((length) => ({ texts: [Array<number>(length).fill(0)], label: 0 }));
  const batches = makeBatches(texts, 2, 0, 0);
  assert.deepEqual(batches.map(({ length }) => length).sort((a, b) => a - b), [8, 640, 768, 2048]);
});

for (const [name, objective] of Object.entries(heads)) {
  Deno.test(`${name}: nothing of a batch is left in the arrays that the next one is written into`, () => {
    const model = tinyEncoder();
    const second = (i: number) => Array.from({ length: objective.sequences }, () => i % 2 ? 1 : undefined);
    const examples = examplesFor(objective).map((example, i) => ({ ...example, seconds: second(i) }));
    const shape = { examples: 4, length: 12, rows: 0 };
    const arrays = inputArrays(objective, shape);
    for (const indices of [[11, 15, 7, 3], [0, 4], [20, 1, 2]]) {
      const batch = { length: 12, indices };
      const fresh = batchInputs(model, objective, shape, batch, examples);
      assert.deepEqual(batchInputs(model, objective, shape, batch, examples, arrays), fresh);
    }
  });
}

Deno.test("the schedule warms up linearly and decays to nearly 0", () => {
  assert.deepEqual(linearSchedule(4, {}), [1, 0.75, 0.5, 0.25]);
  assert.deepEqual(linearSchedule(5, { warmupRatio: 0.4 }), [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]);
  assert.deepEqual(linearSchedule(5, { warmupSteps: 2 }), [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]);
  assert.deepEqual(linearSchedule(4, { warmupSteps: 0 }), [1, 0.75, 0.5, 0.25]);
  assert.deepEqual(linearSchedule(2, { warmupSteps: 3 }), [0.25, 0.5], "a run may end while it warms up");
});

Deno.test("an option that is undefined has its default, in the bits and in the checkpoint", async () => {
  const path = `${await Deno.makeTempDir()}/state`;
  using plain = await trainerFor(heads.single);
  const undefinedOnes = Object.fromEntries(
    ["beta1", "beta2", "epsilon", "weightDecay", "maxNorm", "accumulationSteps", "warmupSteps", "recompute"]
      .map((name) => [name, undefined]),
  );
  using same = await trainerFor(heads.single, tiny, undefinedOnes);
  assert.deepEqual(await same.epoch(), await plain.epoch());
  assert.deepEqual(await same.trainable.read(), await plain.trainable.read());
  await plain.checkpoint(path);
  assert.deepEqual(await same.resume(path), {});
});

Deno.test("accumulation: programs that are compiled at once sum into the same place", async () => {
  const few = { accumulationSteps: 2, batchSize: 2, learningRate: 0.1 };
  const examples = examplesFor(heads.single);
  const losses = async (prepare: (trainer: Trainer) => Promise<void>) => {
    using trainer = await trainerFor(heads.single, tiny, few);
    const prepared = prepare(trainer);
    const records = await trainer.epoch();
    await prepared;
    return records.map(({ loss }) => loss);
  };
  const alone = await losses(() => Promise.resolve());
  assert.deepEqual(await losses((trainer) => trainer.prepare(examples)), alone);
});

Deno.test("weights of another model on the GPU are refused, and those of a copy that shares its weights are not", async () => {
  const gpu = await testGpu();
  using frozen = FrozenWeights.forTraining(gpu, tiny);
  const adapter = attach(tiny, bora, { r: 2, blocks: 4, target: ["query"] });
  const trainer = (model: Model) =>
    new Trainer({
      ...{ gpu, model, adapter, objective: heads.single, examples: examplesFor(heads.single), frozen },
      ...options,
    });
  const before = gpu.memory.buffers;
  assert.throws(() => trainer(tinyEncoder()), /frozen holds the weights of another model than tiny/);
  assert.equal(gpu.memory.buffers, before);
  using taken = trainer({ ...tiny, name: "copy" });
  assert.equal(taken.steps, 18);
});
