/**
 * BERT checkpoints without a pooler, as masked language models are saved: a fresh one is trained, saved and
 * merged.
 */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { lora } from "../lib/adapters/lora.ts";
import { loadAdapter, saveAdapter } from "../lib/adapters/peft.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import type { Model } from "../lib/models/model.ts";
import { readSafetensors } from "../lib/models/safetensors.ts";
import { classification } from "../lib/objectives/classification.ts";
import { AdaptedModel } from "../lib/train/adapted_model.ts";
import { saveMerged } from "../lib/train/merge_folder.ts";
import { Trainer } from "../lib/train/trainer.ts";
import { cases } from "./support/bert_reference.ts";
import { testGpu } from "./support/ops.ts";
import { type CheckpointOptions, seeded, writeCheckpoint } from "./support/seeded_checkpoint.ts";

const bert = cases["BERT on pairs"].config;
const pooler = "bert.pooler.dense";
const without = /pooler/;

/** What `BertForMaskedLM` has beside its trunk, and the buffer that old versions of transformers saved. */
const maskedHead = [
  { name: "cls.predictions.bias", shape: [60] },
  { name: "cls.predictions.transform.dense.weight", shape: [32, 32] },
  { name: "cls.predictions.transform.LayerNorm.weight", shape: [32] },
  { name: "bert.embeddings.position_ids", shape: [1, 16] },
];
const bare = (name: string) => name.replace("bert.", "");

/** A checkpoint of a configuration in a temporary folder, for the time of `use`, which is given what loading reports as well. */
async function withCheckpoint(
  config: Readonly<Record<string, unknown>>,
  options: CheckpointOptions,
  use: (
    folder: string,
    load: () => Promise<{ model: Awaited<ReturnType<typeof loadEncoder>>; said: string[] }>,
  ) => Promise<void>,
): Promise<void> {
  const parent = await Deno.makeTempDir();
  try {
    await writeCheckpoint(`${parent}/encoder`, config, options);
    await use(`${parent}/encoder`, async () => {
      const said: string[] = [];
      return { model: await loadEncoder(`${parent}/encoder`, {}, (line) => said.push(line)), said };
    });
  } finally {
    await Deno.remove(parent, { recursive: true });
  }
}

Deno.test("a BERT without a pooler gets the same fresh one at every load, and says so in one line", async () => {
  const found: Float32Array[] = [];
  const layouts: CheckpointOptions[] = [
    { without },
    { without, rename: bare },
    { without, extra: maskedHead },
    { without, shards: 2 },
  ];
  for (const options of layouts) {
    await withCheckpoint(bert, options, async (folder, load) => {
      const { model, said } = await load();
      assert.deepEqual(said, [
        `${folder}: the checkpoint was saved without its pooler: ${pooler} is drawn anew, and trained and saved with every adapter`,
      ]);
      assert.deepEqual(model.fresh, [pooler]);
      assert.equal(model.weights.size, 39);
      assert.ok(model.weights.get(`${pooler}.bias`)!.data.every((value) => value === 0));
      for (const [name, { shape, data }] of model.weights) {
        if (!name.startsWith(pooler)) assert.deepEqual(data, seeded(name, shape));
      }
      found.push(model.weights.get(`${pooler}.weight`)!.data);
    });
  }
  for (const values of found) assert.deepEqual(values, found[0]);
  const deviation = Math.sqrt(found[0].reduce((sum, value) => sum + value ** 2, 0) / found[0].length);
  assert.ok(Math.abs(deviation - 0.02) < 0.001, `a standard deviation of ${deviation}`);
});

Deno.test("the spread of a fresh pooler is what config.json says", () =>
  withCheckpoint({ ...bert, initializer_range: 0.5 }, { without }, async (_, load) => {
    const { data } = (await load()).model.weights.get(`${pooler}.weight`)!;
    const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    assert.ok(largest > 0.8 && largest <= 0.5 * Math.sqrt(3), `${largest}`);
  }));

Deno.test("a pooler in the checkpoint is read, and a RoBERTa's is skipped, both silently", async () => {
  await withCheckpoint(bert, { extra: maskedHead }, async (_, load) => {
    const { model, said } = await load();
    assert.deepEqual([said, model.fresh], [[], []]);
    assert.deepEqual(model.weights.get(`${pooler}.weight`)!.data, seeded(`${pooler}.weight`, [32, 32]));
  });
  const extra = [{ name: "roberta.pooler.dense.weight", shape: [32, 32] }, {
    name: "lm_head.bias",
    shape: [60],
  }];
  await withCheckpoint(cases.RoBERTa.config, { extra }, async (_, load) => {
    const { model, said } = await load();
    assert.deepEqual([said, model.fresh, model.weights.size], [[], [], 37]);
  });
});

Deno.test("half a pooler, and a checkpoint that lacks more than it, are refused with what is missing", async () => {
  const refused = (without: RegExp, message: RegExp) =>
    withCheckpoint(bert, { without }, async (_, load) => await assert.rejects(load, message));
  await refused(
    /pooler\.dense\.bias/,
    /lacks 1 tensor of this bert model, such as "bert\.pooler\.dense\.bias"/,
  );
  await refused(
    /pooler\.dense\.weight/,
    /lacks 1 tensor of this bert model, such as "bert\.pooler\.dense\.weight"/,
  );
  await refused(
    /pooler|layer\.1\.output/,
    /lacks 6 tensors of this bert model, such as "bert\.encoder\.layer\.1\.output\.dense\.weight": .*the checkpoint is not whole/,
  );
});

const objective = (model: Model) => classification.of(model, { texts: 2, classes: 2 });
const examples = cases["BERT on pairs"].examples.map(({ texts, seconds, label }) => ({
  texts,
  seconds: seconds?.map((second) => second ?? undefined),
  label,
}));

/** An adapter that was trained for a few steps on the encoder in `folder`, saved beside it, and what it predicts. */
async function trained(folder: string, target: readonly string[]) {
  const model = await loadEncoder(folder, {}, () => {});
  const adapter = attach(model, lora, { r: 2, target });
  const options = { learningRate: 1e-2, epochs: 3, batchSize: 3, warmupRatio: 0, seed: 0 };
  using trainer = new Trainer({
    gpu: await testGpu(),
    model,
    adapter,
    objective: objective(model),
    examples,
    ...options,
  });
  for (let epoch = 0; epoch < options.epochs; epoch++) await trainer.epoch();
  const weights = await trainer.weights();
  await saveAdapter(`${folder}-adapter`, model, adapter, weights);
  const config = JSON.parse(await Deno.readTextFile(`${folder}-adapter/adapter_config.json`));
  return { adapter, weights, config, scores: await trainer.predict(examples) };
}

/** The predictions of the saved adapter on a model that is loaded anew. */
async function predictions(folder: string): Promise<Float32Array[]> {
  const model = await loadEncoder(folder, {}, () => {});
  using adapted = new AdaptedModel(await testGpu(), model);
  await adapted.load("saved", `${folder}-adapter`);
  return await adapted.predict(objective(model), examples);
}

Deno.test("a fresh pooler is trained, saved with the adapter, and gives the same predictions when both are loaded again", () =>
  withCheckpoint(bert, { without, extra: maskedHead }, async (folder, load) => {
    const { adapter, weights, config, scores } = await trained(folder, ["query", "value"]);
    const { model } = await load();
    assert.deepEqual([...adapter.trainedBase], [`${pooler}.weight`, `${pooler}.bias`]);
    assert.equal(adapter.trainableParameters, 2 * 2 * 2 * 64 + 32 * 33);
    for (const part of ["weight", "bias"]) {
      const name = `${pooler}.${part}`;
      assert.notDeepEqual(weights.get(name)!.data, model.weights.get(name)!.data, `${name} has not moved`);
    }
    assert.deepEqual(config.modules_to_save, ["pooler.dense", "classifier"]);
    assert.deepEqual(config.target_modules, ["query", "value"]);
    const { tensors } = await readSafetensors(`${folder}-adapter/adapter_model.safetensors`);
    assert.ok(tensors.has(`base_model.model.${pooler}.weight`));
    assert.deepEqual(await predictions(folder), scores);
  }));

Deno.test("a disabled adapter leaves its pooler to the head that was trained on it, as it leaves the head", () =>
  withCheckpoint(bert, { without }, async (folder) => {
    const { weights } = await trained(folder, ["query"]);
    const model = await loadEncoder(folder, {}, () => {});
    // A LoRA of zeros changes nothing, so that enabled and disabled are the same.
    const adapter = attach(model, lora, { r: 2, target: ["query"] });
    const zeros = [...adapter.parameters].map(([name, { shape }]) =>
      [name, { shape, data: new Float32Array(shape[0] * shape[1]) }] as const
    );
    using adapted = new AdaptedModel(await testGpu(), model);
    adapted.add("it", adapter, new Map([...weights, ...zeros]));
    const enabled = await adapted.predict(objective(model), examples);
    adapted.disable();
    assert.deepEqual(await adapted.predict(objective(model), examples), enabled);
  }));

for (const rename of [undefined, bare]) {
  Deno.test(`merge writes the pooler that a ${rename ? "bare" : "prefixed"} base lacks, and the folder predicts what the adapter did`, () =>
    withCheckpoint(bert, { without, rename }, async (folder) => {
      const { weights, scores } = await trained(folder, ["query"]);
      const [gpu, out] = [await testGpu(), `${folder}-merged`];
      await saveMerged(gpu, folder, `${folder}-adapter`, out);
      const { tensors } = await readSafetensors(`${out}/model.safetensors`);
      assert.equal(tensors.size, 39 + 2);
      const said: string[] = [];
      const model = await loadEncoder(out, {}, (line) => said.push(line));
      assert.deepEqual(said, []);
      assert.deepEqual(model.weights.get(`${pooler}.weight`)!.data, weights.get(`${pooler}.weight`)!.data);
      // A LoRA of zeros does not change the merged weights.
      const untouched = attach(model, lora, { r: 2, target: ["query"] });
      const own = [...untouched.parameters].map(([name, { shape }]) =>
        [name, { shape, data: new Float32Array(shape[0] * shape[1]) }] as const
      );
      const headWeights = [...weights].filter(([name]) => name.startsWith("classifier."));
      using adapted = new AdaptedModel(gpu, model);
      adapted.add("none", untouched, new Map([...own, ...headWeights]));
      const merged = await adapted.predict(objective(model), examples);
      merged.flatMap((row) => [...row]).forEach((value, i) =>
        assert.ok(Math.abs(value - scores.flatMap((row) => [...row])[i]) < 1e-5)
      );
    }));
}

Deno.test("no adapter attaches to a fresh pooler, and a folder says so in names that mean the same to PEFT", () =>
  withCheckpoint(bert, { without }, async (folder) => {
    const { adapter, config, scores } = await trained(folder, ["dense"]);
    assert.equal(adapter.modules.length, 6);
    assert.deepEqual([...adapter.trainedBase], [`${pooler}.weight`, `${pooler}.bias`]);
    // "dense" alone would also select the pooler.
    assert.deepEqual(config.target_modules, adapter.modules.map(({ module }) => module.path).toSorted());
    assert.deepEqual(await predictions(folder), scores);
    const model = await loadEncoder(folder, {}, () => {});
    const all = attach(model, lora, { target: "all-linear" });
    assert.ok(all.modules.every(({ module }) => module.path !== pooler));
    const named = attach(model, lora, { target: ["query"], modulesToSave: ["pooler.dense"] });
    assert.deepEqual(named.targeting.modulesToSave, ["pooler.dense"]);
  }));

Deno.test("an adapter without the pooler that it was trained on is refused where the base has none either", () =>
  withCheckpoint(bert, { without }, async (folder) => {
    const whole = `${folder}-whole`;
    await writeCheckpoint(`${whole}/encoder`, bert);
    const model = await loadEncoder(`${whole}/encoder`);
    const adapter = attach(model, lora, { r: 2, target: ["query"] });
    const weights = [...adapter.parameters].map(([name, { shape }]) =>
      [name, { shape, data: new Float32Array(shape[0] * shape[1]) }] as const
    );
    await saveAdapter(`${folder}-adapter`, model, adapter, new Map(weights));
    const lacking = await loadEncoder(folder, {}, () => {});
    await assert.rejects(
      () => loadAdapter(`${folder}-adapter`, lacking),
      /missing \[.*bert\.pooler\.dense\.bias.*the base was saved without bert\.pooler\.dense, and the adapter without the one that it was trained on: use the base that has it, or train anew with "pooler\.dense" in modules_to_save/,
    );
  }));
