/** Tasks whose answers are a few continuations: chosen by likelihood, learnt without an end mark, kept as cells of a table. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { lora } from "../lib/adapters/lora.ts";
import { promptVariantByName } from "../lib/data/llm_adapters_prompts.ts";
import { taskByName } from "../lib/data/registry.ts";
import type { Example, MetricName, Task } from "../lib/data/task.ts";
import { digestOf } from "../lib/digest.ts";
import { lexicographerFiles, readSynsets } from "../lib/data/wordnet.ts";
import { likeliestContinuations } from "../lib/generate/likeliest_continuations.ts";
import { Writer } from "../lib/generate/writer.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import type { Decoder } from "../lib/models/model.ts";
import { rowDifference } from "../lib/report/comparison.ts";
import { readCells } from "../lib/report/cell_table.ts";
import { packNumbers } from "../lib/report/packed_numbers.ts";
import { ask, decoderOf, evaluateAsIs } from "../lib/train/evaluate.ts";
import { encodeRows, fineTune } from "../lib/train/fine_tune.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { headOnly } from "../lib/adapters/base_only.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { goldenOf } from "../tasks/golden.ts";
import { sample } from "../tasks/planned_cells.ts";
import { dataDigestOf } from "../tasks/run_cell.ts";
import { decodersTable } from "../tasks/tables/decoders.ts";
import { analysisProfiles } from "../tasks/tables/profiles.ts";
import { trainingOf } from "../tasks/training.ts";
import { madeUpCell } from "./support/cells.ts";
import { runTask } from "./support/command.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";
import { writeCheckpoint } from "./support/seeded_checkpoint.ts";
import { tinyBert } from "./support/tiny_bert.ts";
import { writeTinyDecoder } from "./support/tiny_decoder.ts";
import { warned } from "./support/warned.ts";

const target = ["q_proj", "k_proj", "v_proj"];

async function withTiny(body: (model: Decoder) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    await writeTinyDecoder(`${folder}/tiny`);
    await body(await loadDecoder(`${folder}/tiny`));
  });
}

/** Words of which the last letter tells which of three continuations is right. */
const continuations = ["x", "y", "zc"];
const examples = (count: number, first = 0): Example[] =>
  Array.from({ length: count }, (_, i) => {
    const label = (i + first) % 3;
    return {
      id: `word ${i}`,
      texts: [`${"ab".repeat(1 + (i * 7 + first) % 20)}${"pqr"[label]}`, continuations[label]],
      label,
    };
  });
const words: Task = {
  ...taskByName("kinds"),
  name: "words",
  labels: continuations,
  continuations,
  load: () => Promise.resolve({ train: examples(120), dev: examples(30, 1) }),
};

Deno.test("the likeliest continuations of many prompts are those of each prompt alone, whatever the batches", () =>
  withTiny(async (model) => {
    using writer = new Writer({ gpu: await testGpu(), model });
    const prompts = examples(13).map(({ texts: [prompt] }) => prompt);
    const alone: number[] = [];
    for (const prompt of prompts) {
      const [scores] = await writer.score([prompt], continuations);
      alone.push(scores.indexOf(Math.max(...scores)));
    }
    assert.ok(new Set(alone).size > 1, `${alone}`);
    for (const size of [1, 4, 16]) {
      assert.deepEqual(await likeliestContinuations(writer, prompts, continuations, size), alone, `${size}`);
    }
  }));

Deno.test("what is scored is what is learnt: the continuation without an end mark, which other rows learn", () =>
  withTiny(async (model) => {
    const { tokenizer } = model.language;
    const [own] = await encodeRows(model, words, examples(1));
    const [other] = await encodeRows(model, { ...words, continuations: undefined }, examples(1));
    const answer = tokenizer.encode("x", { continues: true });
    assert.deepEqual(own.texts[0].slice(own.labelled!.indexOf(true)), answer);
    assert.deepEqual(other.texts[0].slice(other.labelled!.indexOf(true)), [...answer, tokenizer.endMark]);
  }));

const training = { learningRate: 0.02, epochs: 4, batchSize: 8, seed: 0 };

Deno.test("fineTune learns which continuation is right; its predictions are a Writer's with the trained weights", () =>
  withTiny(async (model) => {
    const gpu = await testGpu();
    const split = await words.load();
    const adapter = attach(model, lora, { r: 8, target });
    using frozen = FrozenWeights.forTraining(gpu, model);
    const asIs = { gpu, model, frozen, task: words, split, batchSize: 8 };
    const bare = attach(model, headOnly, { target: "all-linear" });
    const before = await evaluateAsIs({ ...asIs, adapter: bare });
    const { last, predictions, trained, epochs } = await fineTune({
      ...{ gpu, model, adapter, task: words, split, ...training },
    });
    assert.deepEqual(
      epochs.map(({ metrics }) => Object.keys(metrics).join()),
      Array(4).fill("accuracy,macroF1"),
    );
    assert.ok(
      before.scores.accuracy < 0.7 && last.accuracy > 0.95,
      `${before.scores.accuracy} ${last.accuracy}`,
    );
    const parts = { gpu, model: decoderOf(model), adapter, weights: trained, frozen };
    assert.deepEqual((await ask(words, split, parts, 5)).predictions, predictions);
    const right = split.dev.filter(({ label }, i) => predictions.dev[i] === label).length;
    assert.equal(last.accuracy, right / split.dev.length);
  }));

Deno.test("fineTune warns of rows that are left out, unless someone listens", () =>
  withTiny(async (model) => {
    const [short, long] = [examples(1)[0], { ...examples(1)[0], id: "long", texts: ["ab".repeat(40), "x"] }];
    const metrics: MetricName[] = ["perplexity"];
    const task = { ...words, maxTokens: 60, continuations: undefined, metrics };
    const split = { train: [short, long], dev: [short] };
    const parts = {
      gpu: await testGpu(),
      model,
      adapter: attach(model, lora, { r: 8, target }),
      task,
      split,
    };
    const run = { ...parts, ...training, epochs: 1 };
    const { lines } = await warned(() => fineTune(run));
    assert.deepEqual(lines, [
      "train: 1 rows left out, because nothing of them is learnt within the limit of tokens (long)",
    ]);
    const told: string[] = [];
    const asked = await warned(() =>
      fineTune({ ...run, onRows: ({ dropped }, set) => told.push(`${set} ${dropped}`) })
    );
    assert.deepEqual([asked.lines, told], [[], ["train long", "dev "]]);
  }));

Deno.test("labels that are no continuation, methods that train nothing, encoders, and tasks without continuations are refused", () =>
  withTiny(async (model) => {
    const gpu = await testGpu();
    const adapter = attach(model, lora, { r: 8, target });
    const { train, dev } = await words.load();
    const wrong = { train, dev: [...dev, { ...dev[0], label: 3 }] };
    await assert.rejects(
      () => fineTune({ gpu, model, adapter, task: words, split: wrong, ...training }),
      /dev, example 30: label 3 is not one of 0 … 2/,
    );
    const bare = attach(model, headOnly, { target: "all-linear" });
    await assert.rejects(
      () => fineTune({ gpu, model, adapter: bare, task: words, split: { train, dev }, ...training }),
      /Head only trains nothing here, where there is no head/,
    );
    assert.throws(() => decoderOf(tinyEncoder()), /is no causal model/);
    using frozen = FrozenWeights.forTraining(gpu, model);
    const task = { ...words, continuations: undefined };
    await assert.rejects(
      () => evaluateAsIs({ gpu, model, adapter, frozen, task, split: { train, dev }, batchSize: 4 }),
      /words has to be trained: a model as it is has no answers to it/,
    );
  }));

Deno.test("questions that the model cannot read end a run before its first step", () =>
  withTiny(async (model) => {
    const { train, dev } = await words.load();
    const long: Example = { id: "long", texts: ["ab".repeat(600), "x"], label: 0 };
    const record = { where: "test.json record 1", index: 1, instruction: "ab".repeat(600), answer: "true" };
    const asked = { ...long, record };
    const tests = {
      sets: ["boolq"],
      prompts: promptVariantByName("llm-adapters"),
      scorings: ["generation"],
    } as const;
    const runs: readonly [Task, readonly Example[], RegExp][] = [
      [
        words,
        [...dev, long],
        /prompt 30 has \d+ tokens, and \d more are scored: the model reads 1024 in all/,
      ],
      [
        { ...words, continuations: undefined, tests },
        [asked],
        /test.json record 1 and its answer may have \d+ tokens/,
      ],
    ];
    for (const [task, dev, fault] of runs) {
      const adapter = attach(model, lora, { r: 8, target });
      const steps: number[] = [];
      const run = { gpu: await testGpu(), model, adapter, task, split: { train, dev }, ...training };
      await assert.rejects(() => fineTune({ ...run, onStep: (step) => steps.push(step) }), fault);
      assert.deepEqual(steps, []);
    }
  }));

Deno.test("kinds: 26 of them, each a continuation's name, the glosses of nouns, no lemma on both sides", async () => {
  const task = taskByName("kinds");
  assert.equal(task.labels.length, 26);
  assert.deepEqual(task.continuations, task.labels.map((label) => ` ${label}`));
  const { train, dev } = await task.load();
  const { train: most, dev: judged } = decodersTable.profiles.default;
  assert.ok(train.length >= most + judged && dev.length >= judged, `${train.length}, ${dev.length}`);
  const synsets = new Map((await readSynsets("noun")).map((synset) => [synset.key, synset]));
  for (const { id, texts, label } of [...train, ...dev]) {
    const { definition, lexicographerFile } = synsets.get(id)!;
    const name = lexicographerFiles.get(lexicographerFile)!.slice("noun.".length);
    assert.deepEqual(texts, [`Definition: ${definition}\nKind:`, ` ${name}`]);
    assert.equal(task.labels[label], name);
  }
  const lemmasOf = (side: readonly Example[]) =>
    side.flatMap(({ id }) => synsets.get(id)!.lemmas.map((lemma) => lemma.toLowerCase()));
  const trained = new Set(lemmasOf(train));
  assert.deepEqual(lemmasOf(dev).filter((lemma) => trained.has(lemma)), []);
});

Deno.test("a cell's data is told by texts and labels, and by the continuations among which answers are chosen", async () => {
  const split = await words.load();
  const digests = [
    await dataDigestOf(words, split),
    await dataDigestOf({ ...words, continuations: undefined }, split),
    await dataDigestOf({ ...words, continuations: [...continuations, " more"] }, split),
  ];
  assert.equal(new Set(digests).size, 3);
  const [committed] = await readCells(new URL("../results/headline.json", import.meta.url).pathname).catch(
    () => readCells(new URL("../results/first-table.json", import.meta.url).pathname),
  );
  const encoders = taskByName("supersense");
  const own = { ...analysisProfiles.default, train: committed.trainExamples, dev: committed.devExamples };
  assert.equal(await dataDigestOf(encoders, await sample(encoders, own)), committed.dataDigest);
});

Deno.test("a row that was not trained is compared on every seed of the other, with its one cell", () => {
  const labels = { dev: [0, 1, 2, 3, 0, 1, 2, 3] };
  const base = madeUpCell({
    label: "base",
    steps: 0,
    epochs: [],
    predictions: { dev: packNumbers(Array(8).fill(0)) },
  });
  const trained = [0, 1, 2].map((seed) =>
    madeUpCell({
      label: "BoRA",
      seed,
      labels,
      predictions: { dev: packNumbers([0, 1, 2, 3, 0, 1, seed, 0]) },
    })
  );
  for (const [own, other, sign] of [["BoRA", "base", 1], ["base", "BoRA", -1]] as const) {
    const found = rowDifference(own, other, [base, ...trained])!;
    assert.equal(found.seeds, 3);
    // Right on dev: 6, 6 and 7 of 8 against 2 of 8.
    assert.ok(Math.abs(found.mean - sign * 100 * (19 / 24 - 2 / 8)) < 1e-9, `${found.mean}`);
  }
});

Deno.test("the golden steps of a row that is not trained are its predictions alone", () =>
  withTiny(async (model) => {
    const gpu = await testGpu();
    using frozen = FrozenWeights.forTraining(gpu, model);
    const { environment } = madeUpCell();
    const run = { gpu, model, frozen, environment, modelDigest: "", profileName: "", recompute: false };
    const [row] = decodersTable.rows;
    const { train, dev } = await words.load();
    const training = trainingOf(decodersTable.profiles.smoke, row, words, model);
    assert.deepEqual([training.epochs, training.learningRate], [0, 0]);
    const golden = await goldenOf(run, { task: words, row, training }, { train, dev });
    const adapter = attach(model, headOnly, { target });
    const asked = { gpu, model, adapter, frozen, task: words, batchSize: 4 };
    const { predictions } = await evaluateAsIs({ ...asked, split: { train, dev: dev.slice(0, 8) } });
    assert.equal(golden, await digestOf(predictions));
  }));

Deno.test("reproduce decoders: base once and trained rows, from the store when it is run again", () =>
  withFolder(async (folder) => {
    await writeTinyDecoder(`${folder}/tiny`);
    const rows = ["base", "LoRA r 8", "DoRA r 8", "BoRA r 8 b 16"];
    const args = [
      ...[
        "decoders",
        "--profile",
        "smoke",
        "--model",
        `${folder}/tiny`,
        "--out",
        `${folder}/out`,
        "--seeds",
        "2",
      ],
      ...rows.flatMap((row) => ["--method", row]),
    ];
    const run = async (...more: string[]) => {
      const { code, stdout, stderr } = await runTask("reproduce", [...args, ...more]);
      assert.equal(code, 0, stderr);
      return stdout;
    };
    await run();
    const cells = await readCells(`${folder}/out/decoders-tiny.json`);
    assert.deepEqual(
      cells.map(({ label, seed }) => `${label} ${seed}`),
      ["base 0", ...rows.slice(1).flatMap((label) => [`${label} 0`, `${label} 1`])],
    );
    for (const cell of cells) {
      assert.deepEqual([cell.model, cell.task, cell.headline], ["tiny", "kinds", "accuracy"]);
      assert.deepEqual(cell.target, target);
      const isTrained = cell.label !== "base";
      assert.deepEqual([cell.epochs.length, cell.steps], isTrained ? [1, 2] : [0, 0]);
      assert.equal(cell.training.batchSize, 16);
    }
    const page = await Deno.readTextFile(`${folder}/out/decoders-tiny.md`);
    assert.match(page, /\| base +\| +0 \| +1 \|/);
    await run("--resume");
    assert.deepEqual(await readCells(`${folder}/out/decoders-tiny.json`), cells, "kept, times and all");
  }));

Deno.test("reproduce decoders: an encoder is refused before anything is trained", () =>
  withFolder(async (folder) => {
    await writeCheckpoint(`${folder}/bert`, tinyBert);
    const model = ["--model", `${folder}/bert`, "--out", `${folder}/out`];
    const { code, stderr } = await runTask("reproduce", ["decoders", "--profile", "smoke", ...model]);
    assert.equal(code, 1);
    assert.match(stderr, /bert is no causal model: load one with loadDecoder/);
  }));
