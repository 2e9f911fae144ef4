/** Tables of trainings that are tested on several data sets: their cells, what a set's part of a cell is, and estimates. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { lora } from "../lib/adapters/lora.ts";
import { methods } from "../lib/adapters/registry.ts";
import { llmAdaptersTestedTask } from "../lib/data/llm_adapters_tested.ts";
import type { Scoring } from "../lib/data/task.ts";
import { promptOf } from "../lib/data/llm_adapters_prompts.ts";
import { commonsenseSets, mathSets } from "../lib/data/llm_adapters_sets.ts";
import { writtenSize } from "../lib/data/published_sizes.ts";
import type { Answering } from "../lib/generate/evaluate.ts";
import { testedOn } from "../lib/generate/tested.ts";
import { Writer } from "../lib/generate/writer.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import { publishedDecoder } from "../lib/models/published_configs.ts";
import { unloadedDecoder } from "../lib/models/unloaded_decoder.ts";
import { language } from "../lib/objectives/language.ts";
import { cellsBySet } from "../lib/report/cells_by_set.ts";
import { readCells } from "../lib/report/cell_table.ts";
import { compareCells } from "../lib/report/compare_cells.ts";
import { rowDifference } from "../lib/report/comparison.ts";
import { packNumbers, unpackNumbers } from "../lib/report/packed_numbers.ts";
import { averagePaired, compareOverSets, comparePaired } from "../lib/report/paired.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { weightBuffers } from "../lib/run/room.ts";
import { estimateTraining, sampled } from "../lib/train/estimate.ts";
import { encodeRows, fineTune } from "../lib/train/fine_tune.ts";
import { mathTable } from "../tasks/tables/math.ts";
import { tableByName } from "../tasks/tables/registry.ts";
import { madeUpCell } from "./support/cells.ts";
import { noAdapter, runTask } from "./support/command.ts";
import { withFolder } from "./support/files.ts";
import { writeLlmAdaptersFiles } from "./support/llm_adapters_files.ts";
import { testGpu } from "./support/ops.ts";
import { writeTinyDecoder } from "./support/tiny_decoder.ts";

const target = ["q_proj", "k_proj", "v_proj"];

async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runTask("reproduce", args);
  assert.equal(code, 0, stderr);
  return stdout;
}

Deno.test("reproduce commonsense with a decoder: one training, a score a data set, pages with the model's name", () =>
  withFolder(async (folder) => {
    await writeTinyDecoder(`${folder}/tiny`);
    await writeLlmAdaptersFiles(`${folder}/data`);
    const out = `${folder}/out`;
    const sources = ["--model", `${folder}/tiny`, "--data", `${folder}/data`, "--profile", "smoke"];
    const rows = ["base", "LoRA r 8", "BoRA r 8 b 8"].flatMap((row) => ["--method", row]);
    const args = ["commonsense", ...sources, ...rows, "--out", out];
    assert.match(
      await run(...args, "--list"),
      /^commonsense \/ commonsense_170k, tested on ARC-Challenge, openbookqa \/ LoRA r 8 \/ seed 0$/m,
    );
    await run(...args);
    const cells = await readCells(`${out}/commonsense-tiny.json`);
    assert.deepEqual(cells.map(({ label }) => label), ["base", "LoRA r 8", "BoRA r 8 b 8"]);
    for (const { task, tests, last, predictions, labels, trainExamples, steps } of cells) {
      assert.deepEqual([task, trainExamples], ["commonsense_170k", 32]);
      assert.ok(steps === 0 || steps === 2);
      assert.deepEqual(tests, {
        sets: ["ARC-Challenge", "openbookqa"],
        prompts: "toplora",
        scorings: ["likelihood"],
      });
      assert.deepEqual(Object.keys(last), ["accuracy", "accuracy openbookqa"]);
      for (const [name, count] of [["dev", 8], ["openbookqa", 6]] as const) {
        const own = unpackNumbers(predictions[name]);
        const right = own.filter((value, i) => value === labels[name][i]).length;
        assert.equal(last[name === "dev" ? "accuracy" : "accuracy openbookqa"], right / count);
        assert.deepEqual([...new Set(labels[name])].toSorted(), [0, 1]);
      }
    }
    const page = await Deno.readTextFile(`${out}/commonsense-tiny.md`);
    assert.match(
      page,
      /\| method +\| trainable, head not counted \| +ARC-Challenge \| +openbookqa \| average \|/,
    );
    assert.match(page, /right answer is the likeliest of those listed.*the prompts called toplora/);
    assert.match(
      page,
      /^The paper's averages are over other sets, boolq, piqa, social\\_i\\_qa, .*openbookqa; ours are over ARC-Challenge, openbookqa\.$/m,
    );
    assert.match(page, /\| method +\| here: tiny \| paper: Gemma-7B \|/);
    assert.match(page, /\(commonsense-tiny\.svg\)/);
    assert.ok(!existsSync(`${out}/commonsense.json`), "that is the encoders' table");
    await run(...args, "--resume");
    assert.deepEqual(await readCells(`${out}/commonsense-tiny.json`), cells, "kept, times and all");
    const { code, stderr } = await runTask("report", [out, "--out", `${folder}/again`]);
    assert.equal(code, 0, stderr);
    assert.equal(await Deno.readTextFile(`${folder}/again/commonsense-tiny.md`), page);
  }));

Deno.test("reproduce math: answers that are written, by numbers", () =>
  withFolder(async (folder) => {
    await writeTinyDecoder(`${folder}/tiny`);
    await writeLlmAdaptersFiles(`${folder}/data`);
    const sources = ["--model", `${folder}/tiny`, "--data", `${folder}/data`, "--profile", "smoke"];
    await run("math", ...sources, "--method", "LoRA r 8", "--out", folder);
    const [{ last, tests, labels }] = await readCells(`${folder}/math-tiny.json`);
    assert.deepEqual(tests, { sets: ["AddSub", "SVAMP"], prompts: "toplora", scorings: ["generation"] });
    assert.deepEqual(Object.keys(last).toSorted(), [
      "accuracy",
      "accuracy SVAMP",
      "strict accuracy",
      "strict accuracy SVAMP",
    ]);
    assert.deepEqual(Object.values(labels).map(({ length }) => length), [2, 2]);
  }));

Deno.test("an answer's number is its label if it is right, another's if it is that, and above all if it is none", () =>
  withFolder(async (folder) => {
    await writeTinyDecoder(`${folder}/tiny`);
    await writeLlmAdaptersFiles(`${folder}/data`);
    const task = llmAdaptersTestedTask({
      ...{ folder: `${folder}/data`, train: "commonsense_170k", sets: ["ARC-Challenge"] },
      ...{ prompts: "toplora", scorings: ["generation"], maxTokens: 256 },
    });
    const { train, dev } = await task.load();
    assert.equal(train.length, 41, "no row is held out");
    const texts = new Map(dev.map(({ record }, i) => [
      record!.where,
      ["the correct answer is answer1", "it is answer2", "what?"][i % 3],
    ]));
    using writer = new Writer({ gpu: await testGpu(), model: await loadDecoder(`${folder}/tiny`) });
    const asked = dev.map(({ record }) => record!.where);
    const order: string[] = [];
    const speaking = Object.assign(Object.create(writer) as Writer, {
      idsOf(prompt: string) {
        order.push(prompt);
        return [order.length];
      },
      write: (prompts: readonly (readonly number[])[]) =>
        Promise.resolve(prompts.map(([i]) => ({ text: texts.get(asked[i - 1])!, ids: [], ended: "stop" }))),
    });
    Object.defineProperty(speaking, "maxTokens", { value: 1024 });
    const { predictions, further } = await testedOn(speaking, "ARC-Challenge", dev, task.tests!, 4);
    assert.deepEqual(predictions, dev.map((_, i) => [0, 1, 2][i % 3]));
    assert.deepEqual(Object.keys(further), ["strict accuracy"]);
  }));

Deno.test("two scorings: the first that suits a data set is its score, the other stands beside it", () =>
  withFolder(async (folder) => {
    await writeLlmAdaptersFiles(`${folder}/data`);
    const taskOf = (...scorings: Scoring[]) =>
      llmAdaptersTestedTask({
        ...{ folder: `${folder}/data`, train: "commonsense_170k", sets: ["ARC-Challenge", "SVAMP"] },
        ...{ prompts: "toplora", scorings, maxTokens: 256 },
      });
    const task = taskOf("likelihood", "generation");
    const { train, dev, furtherDev } = await task.load();
    assert.match(JSON.stringify(train[0].row), /### Instruction/, "trained on the prompts");
    // It finds the first answer the likeliest, and writes the second.
    const speaking: Answering = {
      idsOf: () => [1],
      continuationIds: (text) => [...text as string].map((character) => character.codePointAt(0)!),
      maxTokens: 1024,
      scoreEach: (_, ends) => Promise.resolve(ends.map((own) => own.map((_, i) => -i))),
      write: (prompts) =>
        Promise.resolve(
          prompts.map(() => ({ text: "the correct answer is answer2", ids: [], ended: "stop" })),
        ),
      search: () => Promise.reject(new Error("no beams are asked for")),
    };
    const listed = await testedOn(speaking, "ARC-Challenge", dev, task.tests!, 4);
    const share = (label: number) => dev.filter((one) => one.label === label).length / dev.length;
    const right = listed.predictions.filter((found, i) => found === dev[i].label).length / dev.length;
    assert.deepEqual([right, listed.further["written accuracy"]], [share(0), share(1)]);
    assert.deepEqual(Object.keys(listed.further), ["written accuracy", "strict accuracy"]);
    const numbers = await testedOn(speaking, "SVAMP", furtherDev!.SVAMP, task.tests!, 4);
    assert.deepEqual(Object.keys(numbers.further), ["strict accuracy"], "its score is what is written");
    assert.throws(
      () => taskOf("cloze", "likelihood"),
      /none of the scorings \[cloze, likelihood\] suits SVAMP: add generation/,
    );
  }));

Deno.test("cloze: trained on questions without their answers' list, scored by acc_norm, with acc beside it", () =>
  withFolder(async (folder) => {
    await writeTinyDecoder(`${folder}/tiny`);
    await writeLlmAdaptersFiles(`${folder}/data`);
    const [gpu, model] = [await testGpu(), await loadDecoder(`${folder}/tiny`)];
    const task = llmAdaptersTestedTask({
      ...{ folder: `${folder}/data`, train: "commonsense_170k", sets: ["ARC-Challenge", "openbookqa"] },
      ...{ prompts: "toplora", scorings: ["cloze"], maxTokens: 256 },
    });
    const split = await task.load();
    assert.match(JSON.stringify(split.train[0].row), /"prompt":"(Question: )?(ab)+\?(\\nAnswer:)?"/);
    const adapter = attach(model, lora, { r: 8, target });
    const training = { learningRate: 0.01, epochs: 1, batchSize: 4, seed: 0 };
    const { last, predictions } = await fineTune({ gpu, model, adapter, task, split, ...training });
    assert.deepEqual(Object.keys(last).toSorted(), [
      "acc",
      "acc openbookqa",
      "accuracy",
      "accuracy openbookqa",
    ]);
    const items = { dev: split.dev, ...split.furtherDev };
    for (const [name, examples] of Object.entries(items)) {
      const right = examples.filter(({ label }, i) => predictions[name][i] === label).length;
      assert.equal(last[name === "dev" ? "accuracy" : `accuracy ${name}`], right / examples.length);
    }
  }));

Deno.test("beside the paper's averages, ours are over its six sets: mawps counts in the table alone", async () => {
  const rightHalf = {
    last: { accuracy: 0.5 },
    tests: { sets: [], prompts: "toplora", scorings: ["generation"] },
  };
  const cells = mathSets.map(({ name }) =>
    madeUpCell({ ...rightHalf, task: name, ...name === "mawps" ? { last: { accuracy: 1 } } : {} })
  );
  const section = async (own: typeof cells) => (await mathTable.sections!(own)).at(-1)!;
  const whole = await section(cells);
  assert.match(
    whole,
    /^All averages are over AddSub, MultiArith, SingleEq, SVAMP, gsm8k, AQuA, without mawps\.$/m,
  );
  assert.match(whole, /^\| LoRA r 8 \| +50\.00 \| +68\.19 \|/m);
  const some = await section(cells.slice(3));
  assert.match(
    some,
    /^The paper's averages are over other sets, AddSub, .*, AQuA; ours are over SVAMP, gsm8k, AQuA, without mawps\.$/m,
  );
});

Deno.test("the model decides which of two tables of a name is meant", () => {
  const isForDecoders = (forDecoder: boolean) => "decoder" in tableByName("commonsense", forDecoder);
  assert.deepEqual([isForDecoders(true), isForDecoders(false)], [true, false]);
  assert.ok("decoder" in tableByName("math", false) && !("decoder" in tableByName("glue", true)));
});

const runsOf = (...all: number[][]) => all.map((predictions, seed) => ({ seed, predictions }));

Deno.test("over several sets: the mean of their differences, and a seed's effect on all counts once", () => {
  const set = (size: number, ...wrong: number[]) => ({
    metric: "accuracy" as const,
    labels: Array<number>(size).fill(1),
    reference: runsOf(...wrong.map(() => Array<number>(size).fill(1))),
    own: runsOf(...wrong.map((count) => Array.from({ length: size }, (_, i) => Number(i >= count)))),
  });
  const [small, large] = [set(10, 1, 3, 5), set(40, 4, 12, 20)];
  assert.deepEqual(compareOverSets([small]), comparePaired(small));
  const both = compareOverSets([small, set(40, 0, 4, 8)]);
  assert.ok(Math.abs(both.mean + 100 * (3 / 10 + 4 / 40) / 2) < 1e-9, `${both.mean}`);
  assert.deepEqual([both.seeds, both.examples], [3, 50]);
  // Seeds differ in both sets alike: two sets tell no more of seeds than one.
  const [one, shared] = [comparePaired(large), compareOverSets([small, large])];
  assert.ok(shared.seedError! > 0.95 * one.seedError!, `${shared.seedError} ${one.seedError}`);
  assert.ok(averagePaired([comparePaired(small), one]).seedError! < 0.8 * one.seedError!);
  assert.throws(() => compareOverSets([small, set(40, 4, 12)]), /sets of the seeds 0,1,2 and 0,1: run all/);
});

/** A cell that was tested on two sets, right on the first `rights` of each. */
function testedCell(label: string, seed: number, rights: readonly [number, number]) {
  const labels = { dev: [0, 0, 0, 1], second: [1, 2, 3, 4, 5] };
  const predictions = Object.fromEntries(
    Object.entries(labels).map(([name, own], set) => [
      name,
      packNumbers(own.map((value, i) => i < rights[set] ? value : 9)),
    ]),
  );
  const last = { "accuracy": rights[0] / 4, "strict accuracy": 0, "accuracy second": rights[1] / 5 };
  return madeUpCell({
    ...{ label, seed, task: "all", labels, predictions, last, best: last },
    tests: { sets: ["first", "second"], prompts: "p", scorings: ["generation"] },
  });
}

Deno.test("a cell that is tested on sets is a cell of each: its scores, examples and majority; rows are compared over all", () => {
  const [first, second, other] = cellsBySet([testedCell("BoRA", 0, [3, 2]), madeUpCell()]);
  assert.deepEqual([first.task, first.trainedOn, first.last, first.devExamples], ["first", "all", {
    accuracy: 0.75,
  }, 4]);
  assert.deepEqual([second.task, second.last, second.devExamples], ["second", { accuracy: 0.4 }, 5]);
  assert.deepEqual([first.majorityBaseline, second.majorityBaseline], [0.75, 0.2]);
  assert.deepEqual(unpackNumbers(second.predictions.dev), [1, 2, 9, 9, 9]);
  assert.deepEqual(other, madeUpCell());
  const cells = cellsBySet([0, 1].flatMap((seed) => [
    testedCell("BoRA", seed, [4, 3]),
    testedCell("LoRA r 8", seed, [3, 3]),
  ]));
  const found = rowDifference("BoRA", "LoRA r 8", cells)!;
  const setOf = (task: string) => {
    const runsOf = (label: string) =>
      cells.filter((cell) => cell.task === task && cell.label === label).map(({ seed, predictions }) => ({
        seed,
        predictions: unpackNumbers(predictions.dev),
      }));
    const { labels } = cells.find((cell) => cell.task === task)!;
    return {
      metric: "accuracy" as const,
      labels: labels.dev,
      reference: runsOf("LoRA r 8"),
      own: runsOf("BoRA"),
    };
  };
  assert.deepEqual(found, compareOverSets(["first", "second"].map(setOf)));
  assert.ok(Math.abs(found.mean - 12.5) < 1e-9);
  assert.deepEqual([found.seeds, found.examples], [2, 9]);
});

Deno.test("deno task compare sees every test set, not the first alone", () => {
  const cells = (second: number) => [0, 1, 2].map((seed) => testedCell("BoRA", seed, [3, second]));
  const { rows } = compareCells(cells(4), cells(1));
  const of = (end: string) => rows.find(({ name }) => name.endsWith(end))!;
  assert.deepEqual([of("BoRA, first").base, of("BoRA, first").head], ["75.00", "75.00"]);
  assert.deepEqual([of("BoRA, second").base, of("BoRA, second").head], ["80.00", "20.00"]);
  assert.equal(of("BoRA, mean of 2 tasks").difference.startsWith("−30.00"), true);
});

Deno.test("the peak of a step with packed weights is that with dense ones but for the weights' bytes, within a thousandth", async () => {
  const sizes = { layers: 2, width: 256, inner: 512, heads: 4, kvHeads: 2, headSize: 64, vocabulary: 1024 };
  const config = { ...publishedDecoder("llama-3-8b")!, ...sizes };
  const of = (packing?: "bf16" | "int8" | "int4") =>
    unloadedDecoder("small", config, { packing, maxTokens: 512 });
  const example = { texts: [Array<number>(64).fill(0)], labelled: Array<boolean>(64).fill(true), label: 63 };
  const asking = { prompts: 3, tokens: 90, longest: 40, newTokens: 32 };
  const peakOf = async (packing?: "bf16" | "int8" | "int4") => {
    const model = of(packing);
    const parts = { model, adapter: attach(model, bora, { r: 8, blocks: 8, target }), asking };
    const objective = language.of(model, { texts: 1, classes: 0 });
    const training = { learningRate: 1e-4, epochs: 1, batchSize: 4, seed: 0, recompute: true };
    return (await estimateTraining({ ...parts, objective, train: [example], dev: [], ...training }))
      .peakBytes;
  };
  const dense = of();
  const bytesIn = (packing?: "bf16" | "int8" | "int4") =>
    weightBuffers(dense, packing).reduce((sum, [, bytes]) => sum + bytes, 0);
  const peak = await peakOf();
  for (const packing of ["bf16", "int8", "int4"] as const) {
    const [own, expected] = [await peakOf(packing), peak - bytesIn() + bytesIn(packing)];
    assert.ok(Math.abs(own - expected) < 1e-3 * own, `${packing}: ${own}, ${expected}`);
  }
});

Deno.test("an estimate has the steps of a run with its tests, and its bytes, but for what writes a token more", () =>
  withFolder(async (folder) => {
    await writeTinyDecoder(`${folder}/tiny`);
    await writeLlmAdaptersFiles(`${folder}/data`);
    const [gpu, model] = [await testGpu(), await loadDecoder(`${folder}/tiny`)];
    const adapter = attach(model, lora, { r: 8, target: ["q_proj"] });
    using frozen = FrozenWeights.forTraining(gpu, model);
    const options = { learningRate: 1e-3, epochs: 1, batchSize: 4, seed: 0 };
    const objective = language.of(model, { texts: 1, classes: 0 });
    for (const [scoring, newTokens, share] of [["likelihood", 8, 1], ["generation", 256, 0.995]] as const) {
      const task = llmAdaptersTestedTask({
        ...{ folder: `${folder}/data`, train: "commonsense_170k", sets: ["ARC-Challenge", "openbookqa"] },
        ...{ prompts: "toplora", scorings: [scoring], maxTokens: 256 },
      });
      const split = await task.load();
      const checkpointing = { path: `${folder}/${scoring}`, every: 2, cell: scoring };
      gpu.resetPeak();
      const run = await fineTune({ gpu, model, frozen, adapter, task, split, ...options, checkpointing });
      const { evaluation } = task.tests!.prompts;
      const lengths = [...split.dev, ...split.furtherDev!.openbookqa].map(({ record }) =>
        model.language.tokenizer.encode(promptOf(evaluation, record!), { addMarks: true }).length
      );
      const tokens = lengths.reduce((sum, length) => sum + length);
      const asking = { prompts: lengths.length, tokens, longest: Math.max(...lengths), newTokens };
      const train = await encodeRows(model, task, split.train);
      const parts = { model, adapter, objective, dev: [], asking, traits: gpu.traits };
      const { steps, flops, peakBytes } = await estimateTraining({ ...parts, train, ...options });
      assert.equal(steps, run.steps);
      assert.ok(
        peakBytes <= run.peakBufferBytes && peakBytes >= share * run.peakBufferBytes,
        `${scoring}: ${peakBytes} of ${run.peakBufferBytes}`,
      );
      const fewer = await estimateTraining({
        ...{ ...parts, train: sampled(objective, train, options.batchSize), ...options },
      });
      assert.deepEqual([fewer.steps, fewer.flops], [steps, flops]);
      // It has rates and losses of fewer steps.
      assert.ok(peakBytes - fewer.peakBytes <= 16 * steps, `${fewer.peakBytes} of ${peakBytes}`);
    }
  }));

Deno.test("methods that compute with the base's weights say so: on a packed decoder no others fail", async () => {
  const config = { ...publishedDecoder("smollm2")!, layers: 1 };
  const model = unloadedDecoder("packed", config, { packing: "int8", maxTokens: 64 });
  const example = { texts: [[0, 0, 0]], labelled: [false, true, true], label: 2 };
  const training = { learningRate: 1e-4, epochs: 1, batchSize: 1, seed: 0 };
  const objective = language.of(model, { texts: 1, classes: 0 });
  for (const method of methods.filter(({ trainsBase, restarts, peft }) => peft && !trainsBase && !restarts)) {
    if (method.readsBase) {
      assert.throws(
        () => attach(model, method, { target }),
        /computes with the base's weights, and "model\.layers\.0\.self_attn\.q_proj\.weight" is packed as int8: load it unpacked/,
      );
      continue;
    }
    const adapter = attach(model, method, { target });
    const estimate = await estimateTraining({
      model,
      adapter,
      objective,
      train: [example],
      dev: [],
      ...training,
    });
    assert.ok(estimate.peakBytes > 0, method.name);
  }
});

Deno.test("reproduce --estimate: the paper's tables on its models, without weights, data or adapter", async () => {
  for (const [table, sets] of [["commonsense", commonsenseSets], ["math", mathSets]] as const) {
    const args = [table, "--model", "llama-3-8b", "--profile", "paper", "--list", "--estimate", "--method"];
    const started = performance.now();
    const { code, stdout, stderr } = await runTask(
      "reproduce",
      [...args, "BoRA", "--method", "DoRA"],
      noAdapter,
    );
    assert.equal(code, 0, stderr);
    assert.ok(performance.now() - started < 60_000, "ten seconds, where nothing else runs");
    assert.ok(
      stdout.includes(`Tested on  ${sets.map(({ name }) => name).join(", ")}, by generation, `),
      stdout,
    );
    assert.match(stdout, new RegExp(`^${table} / .*, tested on .* / BoRA r 8 b 16 / seed 0$`, "m"));
    assert.match(stdout, /^Rate +20\.0 TFLOP\/s, assumed: give --rate/m);
    assert.match(stdout, / BoRA r 8 b 16 +1 .* 24: bf16, 48: f32, 80: f32$/m);
    assert.match(stdout, / DoRA r 8 +1 .* – +– +– +24: nothing, 48: f32, 80: f32$/m);
    for (const { name } of sets) assert.ok(writtenSize(name).rows > 0);
  }
  const args = ["math", "--model", "gpt-2", "--estimate"];
  const { code, stderr } = await runTask("reproduce", args, noAdapter);
  assert.equal(code, 2);
  assert.match(stderr, /no folder gpt-2, and nothing is downloaded here.*Meta-Llama-3-8B/);
  const tuned = await runTask("reproduce", ["math", "--tune", "--data", "nowhere"], noAdapter);
  assert.match(tuned.stderr, /math has the rates of the table decoders, or its protocol's; leave --tune out/);
  const mixed = await runTask("reproduce", ["math", "headline", "--estimate"], noAdapter);
  assert.match(mixed.stderr, /estimated apart/);
});

Deno.test("reproduce --estimate of a decoder says what its figures are of, and shows the storage that --packing names", () =>
  withFolder(async (folder) => {
    await writeTinyDecoder(`${folder}/tiny`);
    await writeLlmAdaptersFiles(`${folder}/data`);
    const own = [
      "--model",
      `${folder}/tiny`,
      "--profile",
      "smoke",
      "--method",
      "LoRA r 8",
      "--method",
      "DoRA",
    ];
    const estimated = (table: string, ...more: string[]) =>
      run(table, ...own, "--estimate", "--rate", "1", ...more);
    const published =
      "by their published sizes, all texts of their mean length but one of the most tokens, 4.5 characters a token";
    const files = "rows and texts of the data's own files, tokens by the model's tokenizer";
    const basisOf = (text: string) => text.match(/^Basis +(.*)$/m)![1];
    assert.equal(basisOf(await estimated("commonsense")), `data sets ${published}`);
    assert.equal(
      basisOf(await estimated("commonsense", "--data", `${folder}/data`)),
      `to train on ${files}; tests ${published}`,
    );
    const withoutTokenizer = ["--model", "llama-3-8b", "--method", "LoRA r 8", "--profile", "smoke"];
    assert.equal(
      basisOf(
        await run(
          "commonsense",
          ...withoutTokenizer,
          "--data",
          `${folder}/data`,
          "--estimate",
          "--rate",
          "1",
        ),
      ),
      `to train on rows and texts of the data's own files, 4.5 characters a token; tests ${published}`,
    );
    const text = await estimated("decoders", "--packing", "q8_0");
    assert.equal(basisOf(text), files);
    assert.match(text, / hours +q8_0 GiB +fits GiB$/m);
    assert.match(text, / LoRA r 8 .* 0\.0 +24: q8_0, 48: q8_0, 80: q8_0$/m);
    assert.match(text, / DoRA r 8 .* – +24: nothing, 48: nothing, 80: nothing$/m);
  }));
