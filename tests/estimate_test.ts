/** The estimate of a run's cost, compared with the run itself and with counts made by hand. */

import assert from "node:assert/strict";
import { readCosts } from "../bench/costs_page.ts";
import { type Adapter, attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { lora } from "../lib/adapters/lora.ts";
import { methodByName } from "../lib/adapters/registry.ts";
import { publishedSize } from "../lib/data/published_sizes.ts";
import { families, taskByName } from "../lib/data/registry.ts";
import type { Split, Task, TaskFamily } from "../lib/data/task.ts";
import type { Model } from "../lib/models/model.ts";
import { decoderConfigOf } from "../lib/models/decoder_config.ts";
import { publishedEncoder } from "../lib/models/published_configs.ts";
import { unloadedDecoder } from "../lib/models/unloaded_decoder.ts";
import { unloadedEncoder } from "../lib/models/unloaded_encoder.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { classification } from "../lib/objectives/classification.ts";
import { language } from "../lib/objectives/language.ts";
import { objectiveOf } from "../lib/objectives/registry.ts";
import { readCells } from "../lib/report/cell_table.ts";
import { median } from "../lib/report/statistics.ts";
import { makeBatches } from "../lib/run/batches.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { estimateTraining } from "../lib/train/estimate.ts";
import { encodeExamples, fineTune } from "../lib/train/fine_tune.ts";
import type { TrainOptions } from "../lib/train/trainer.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { withPrefix } from "../tasks/columns.ts";
import { misfits } from "../tasks/machine.ts";
import { noAdapter, runTask } from "./support/command.ts";
import { cases } from "./support/decoder_reference.ts";
import { suiteRows, writeGlueTsv } from "./support/glue_folders.ts";
import { testGpu } from "./support/ops.ts";
import { attachPooled } from "./support/pool.ts";
import { writeCheckpoint } from "./support/seeded_checkpoint.ts";
import { tinyBert } from "./support/tiny_bert.ts";

const options: TrainOptions = { learningRate: 3e-3, epochs: 2, batchSize: 4, warmupRatio: 0.03, seed: 0 };

/** Runs the cell with its checkpoints and asserts that its cost was as estimated. */
async function assertEstimated(model: Model, adapter: Adapter, task: Task, split: Split): Promise<void> {
  const gpu = await testGpu();
  using frozen = FrozenWeights.forTraining(gpu, model);
  gpu.resetPeak();
  const checkpointing = { path: `${await Deno.makeTempDir()}/checkpoint`, every: 2, cell: "a cell" };
  const { steps, peakBufferBytes } = await fineTune(
    { gpu, model, frozen, adapter, task, split, ...options, checkpointing },
  );
  const encode = (examples: Split["dev"]) => encodeExamples(model, task, examples);
  const estimate = await estimateTraining({
    ...{ model, adapter, objective: objectiveOf(model, task, split.train[0]), train: encode(split.train) },
    dev: [split.dev, ...Object.values(split.furtherDev ?? {})].map(encode),
    traits: gpu.traits,
    ...options,
  });
  const name = `${task.name}, ${adapter.method.name}`;
  assert.deepEqual([estimate.steps, estimate.peakBytes], [steps, peakBufferBytes], name);
}

/** Letters as a task of so many texts: 11 examples to train on, and as many and `further` to evaluate. */
function letters(objective: Task["objective"], texts: number, further: number): { task: Task; split: Split } {
  const examples = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      id: `${i}`,
      texts: Array.from({ length: texts }, (_, t) => "abcdefghijkl".slice(0, 1 + (i + t) % 12)),
      label: i % 2,
    }));
  const task: Task = {
    ...taskByName("sentiment"),
    name: `${objective} of ${texts}`,
    objective,
    labels: objective === "choice" ? [] : ["0", "1"],
    metrics: ["accuracy"],
  };
  return {
    task,
    split: { train: examples(11), dev: examples(11), furtherDev: { further: examples(further) } },
  };
}

Deno.test("an estimate has the steps and the bytes of the run, whatever the method and the task's shape", async () => {
  const model = tinyEncoder();
  // Reading the predictions of 1,500 examples takes more bytes than reading a checkpoint.
  const shapes = [["classification", 1, 1500], ["classification", 2, 33], ["choice", 4, 33]] as const;
  for (const [objective, texts, further] of shapes) {
    const { task, split } = letters(objective, texts, further);
    for (const name of ["BoRA", "DoRA", "Full fine-tuning", "Head only"]) {
      const adapter = attachPooled(model, methodByName(name), ["query", "value"]);
      await assertEstimated(model, adapter, task, split);
    }
  }
});

Deno.test("an estimate of USE-lite on real texts has the steps and the bytes of the run", async () => {
  const model = await loadUseLite();
  const task = taskByName("sentiment");
  const { train, dev } = await task.load();
  const adapter = attach(model, bora, { r: 8, blocks: 16, target: ["query", "value"], dropout: 0.05 });
  await assertEstimated(model, adapter, task, { train: train.slice(0, 10), dev: dev.slice(0, 6) });
});

Deno.test("texts of thousands of tokens take no memory that grows with their square", async () => {
  const config = { ...publishedEncoder("roberta-base")!, positions: 4098, vocabulary: 100, layers: 2 };
  const model = unloadedEncoder("long", config);
  assert.equal(model.maxTokens, 4096);
  const adapter = attachPooled(model, bora, ["query", "value"]);
  const objective = classification.of(model, { texts: 1, classes: 2 });
  const of = async (length: number) => {
    const example = { texts: [Array<number>(length).fill(0)], label: 0 };
    const one = { ...options, batchSize: 1 };
    return await estimateTraining({ model, adapter, objective, train: [example], dev: [[example]], ...one });
  };
  const [half, whole] = [await of(2048), await of(4096)];
  // The feed-forward layer's, in float32; the attention scores alone would be 12 · 4096² values.
  assert.equal(whole.largestBuffer.bytes, 4096 * 3072 * 4);
  assert.ok(whole.peakBytes < 2 * half.peakBytes);
});

async function estimated(args: readonly string[], env?: Record<string, string>) {
  const { code, stdout, stderr } = await runTask("reproduce", [
    ...args,
    "--estimate",
    "--json",
    "--rate",
    "10",
  ], env);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

Deno.test("an estimate of a decoder counts the head's products with the rows that are learnt", async () => {
  const model = unloadedDecoder("tiny", decoderConfigOf("tiny", cases["LLaMA 2"].config));
  const target = ["q_proj"];
  const frozen = attach(model, lora, { r: 2, target });
  const trained = attach(model, lora, { r: 2, target, modulesToSave: ["lm_head"] });
  const flopsOf = async (adapter: Adapter, learnt: number) => {
    const labelled = Array.from({ length: 16 }, (_, i) => i >= 16 - learnt);
    const example = { texts: [Array<number>(16).fill(0)], labelled, label: learnt };
    const train = Array.from({ length: 4 }, () => example);
    const objective = language.of(model, { texts: 1, classes: 0 });
    return (await estimateTraining({ model, adapter, objective, train, dev: [], ...options })).flops;
  };
  // Two epochs of one batch of 4 texts: 16 learnt rows, or 32.
  const product = 2 * 2 * 16 * model.vocabulary * model.width;
  assert.equal(
    await flopsOf(frozen, 8) - await flopsOf(frozen, 4),
    2 * product,
    "forward, and the rows' gradient",
  );
  assert.equal(await flopsOf(trained, 8) - await flopsOf(trained, 4), 3 * product, "and the head's own");
});

Deno.test("reproduce --estimate: with no weights, no data and no adapter, as counted by hand", async () => {
  const options = ["--model", "roberta-base", "--profile", "paper", "--task", "RTE", "--seeds", "2"];
  const memory = ["--memory", "30"];
  const { cells, total, ...found } = await estimated(["glue", ...options, ...memory], noAdapter);
  assert.deepEqual([found.model, found.adapter, found.rate], ["roberta-base", undefined, 1e13]);
  assert.deepEqual(cells.map(({ label, seed }: { label: string; seed: number }) => `${label} ${seed}`), [
    ...["Head only 0", "LoRA r 8 0", "LoRA r 32 0", "MELoRA r 8 b 16 0", "BoRA r 8 b 16 0"],
    ...["Head only 1", "LoRA r 8 1", "LoRA r 32 1", "MELoRA r 8 b 16 1", "BoRA r 8 b 16 1"],
  ]);
  // 2,490 pairs of 320 characters: 76 tokens, padded to 96; one of them, in the last batch, is of 512. So of 277 on dev.
  const [epochs, batch] = [80, 256];
  const layers = 12 * (4 * 768 ** 2 + 2 * 768 * 3072);
  const attention = (length: number) => 12 * 2 * length * 768;
  const adapters = { "Head only": 0, "LoRA r 8": 12 * 2 * 8 * (768 + 768) };
  const objective = batch * (768 * 768 + 768 * 2);
  for (const [label, adapter] of Object.entries(adapters)) {
    const [forwards, backwards] = adapter === 0 ? [1, 0] : [1, 1];
    const step = (length: number) =>
      batch * length * (layers * (forwards + backwards) + attention(length) * (forwards + 2 * backwards)) +
      batch * length * 3 * adapter + 3 * objective;
    const forward = (length: number) => batch * length * (layers + attention(length) + adapter) + objective;
    const flops = 2 * epochs * (9 * step(96) + step(512) + forward(96) + forward(512));
    const cell = cells.find((cell: { label: string }) => cell.label === label);
    assert.deepEqual([cell.steps, cell.flops], [epochs * 10, flops], label);
    assert.ok(Math.abs(cell.hours - flops / 1e13 / 3600) < 1e-9 * cell.hours);
  }
  // Activations of 256 texts of 512 tokens: the largest is a feed-forward layer's, in float32.
  assert.equal(cells[1].largestBuffer.bytes, 256 * 512 * 3072 * 4);
  assert.deepEqual([cells[0].misfits, cells[1].misfits], [[], ["memory"]]);
  const again = await estimated(
    ["glue", ...options, ...memory, "--method", "LoRA r 8", "--recompute"],
    noAdapter,
  );
  assert.ok(
    again.cells[0].peakBytes < 0.5 * cells[1].peakBytes,
    "recompute keeps only what goes into the layers",
  );
  assert.deepEqual([total.cells, total.steps, total.doNotFit], [10, 10 * 800, 8]);
  const sum = cells.reduce((total: number, cell: { hours: number }) => total + cell.hours, 0);
  assert.ok(Math.abs(total.hours - sum) < 1e-9);
});

Deno.test("reproduce --estimate of folders says what the run then takes", async () => {
  const folder = await Deno.makeTempDir();
  await writeCheckpoint(`${folder}/encoder`, tinyBert);
  await writeGlueTsv(`${folder}/data`, "RTE", await suiteRows("RTE", 70, 20));
  const sources = ["--model", `${folder}/encoder`, "--data", `${folder}/data`, "--method", "LoRA r 8"];
  const args = ["glue", "--profile", "smoke", ...sources, "--out", `${folder}/out`];
  const { cells: [estimate], basis } = await estimated(args);
  assert.match(basis, /the data's own files, tokens by the model's tokenizer/);
  const run = async (...more: string[]) => {
    const { code, stderr } = await runTask("reproduce", [...args, ...more]);
    assert.equal(code, 0, stderr);
    return (await readCells(`${folder}/out/glue.json`))[0];
  };
  const cell = await run();
  assert.deepEqual([estimate.steps, estimate.peakBytes], [cell.steps, cell.peakBufferBytes]);
  const { cells: [packed] } = await estimated([...args, "--packing", "int8"]);
  assert.ok(packed.peakBytes < estimate.peakBytes);
  assert.equal(packed.peakBytes, (await run("--packing", "int8")).peakBufferBytes);

  await Deno.remove(`${folder}/encoder/model.safetensors`);
  const bare = await estimated(args);
  assert.match(bare.basis, /4\.5 characters a token/);
  assert.equal(bare.cells[0].steps, cell.steps);
});

Deno.test("reproduce --estimate: the text flags what the adapter cannot bind, and mistakes are named", async () => {
  const paper = ["glue", "--profile", "paper", "--estimate", "--rate", "1", "--seeds", "1", "--task", "RTE"];
  const { stdout } = await runTask("reproduce", [
    ...paper,
    "--model",
    "roberta-base",
    "--method",
    "LoRA r 8",
  ]);
  const [line] = stdout.split("\n").filter((line) => line.startsWith("glue"));
  const costs = await readCosts(new URL("../results/costs.json", import.meta.url).pathname);
  const reached = median(costs.find(({ name }) => name.startsWith("LoRA step's rate ÷"))!.values);
  const [, percent] = stdout.match(/a step reaches about (\d+) % of a product's \(results\/costs\.md\)/)!;
  assert.ok(Math.abs(Number(percent) / 100 - reached) < 0.03, `${percent} %, measured ${reached}`);
  const { device: { limits }, adapter } = await testGpu();
  const bound = Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize);
  assert.match(stdout, new RegExp(`^Adapter  ${adapter.name.replace(/[()]/g, "\\$&")}$`, "m"));
  assert.match(line, /LoRA r 8 +0 +800 +12\.7 PFLOP +\d\d\.\d +1\.50 +3\.5 /);
  assert.equal(/no: .*buffer/.test(line), 256 * 512 * 3072 * 4 > bound, line);
  const alone = await runTask("reproduce", ["--list", "--rate", "1"]);
  assert.deepEqual([alone.code, alone.stderr], [2, "--rate goes with --estimate\n"]);
  const study = await runTask("reproduce", ["approximation", "--estimate"]);
  assert.deepEqual([study.code, study.stderr], [
    2,
    "approximation is not made of cells; leave --estimate out\n",
  ]);
  for (
    const [args, message] of [
      [["--model", "gpt-2"], /no folder gpt-2, and nothing is downloaded here.*roberta-base/],
      [["--model", "roberta-base", "--memory", "lots"], /--memory wants a number above 0, not "lots"/],
    ] as const
  ) {
    const { code, stderr } = await runTask("reproduce", [...paper, ...args], noAdapter);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  }
});

Deno.test("every task that is read from a folder has a published size", () => {
  const rows = ({ tasks }: TaskFamily) => tasks.map((task) => publishedSize(task).train);
  const [glueRows, commonsenseRows] = families.map(rows);
  assert.equal(glueRows.length, 9);
  assert.equal(commonsenseRows.reduce((a, b) => a + b), 170_420, "Commonsense170K");
  assert.throws(() => publishedSize("CB"), /no published size of CB; have CoLA/);
});

Deno.test("a number that rounds to 1,000 has the next prefix, and one below 1 has none", () => {
  const texts = [999.4, 999.6, 999_999, 0.5, 0].map((value) => withPrefix(value, "FLOP"));
  assert.deepEqual(texts, ["999 FLOP", "1.00 kFLOP", "1.00 MFLOP", "0.500 FLOP", "0.00 FLOP"]);
});

Deno.test("what does not fit: a buffer beyond the limit, memory beyond what there is, nothing where nothing is known", () => {
  const estimate = { peakBytes: 100, largestBuffer: { label: "arena 0", bytes: 40 } };
  assert.deepEqual(misfits(estimate, { bufferBytes: 39, memoryBytes: 99 }), ["buffer", "memory"]);
  assert.deepEqual(misfits(estimate, { bufferBytes: 40, memoryBytes: 100 }), []);
  assert.deepEqual(misfits(estimate, {}), []);
});

Deno.test("batches of as many examples as QQP and MNLI have hold each example once", () => {
  const [short, long] = [5, 60].map((length) => ({ texts: [Array<number>(length).fill(0)], label: 0 }));
  const examples = Array.from({ length: 400_001 }, (_, i) => i % 1000 === 0 ? long : short);
  const batches = makeBatches(examples, 128, 0, 0);
  assert.equal(batches.length, Math.ceil(examples.length / 128));
  assert.equal(new Set(batches.flatMap(({ indices }) => indices)).size, examples.length);
  assert.deepEqual([...new Set(batches.map(({ length }) => length))].sort(), [64, 8]);
});
