/** Every method with its own defaults, on the shapes that users have: it fits, it can be saved, and its step can be built. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { graLora } from "../lib/adapters/gralora.ts";
import { melora } from "../lib/adapters/melora.ts";
import { checkSavable, loadAdapter, saveAdapter } from "../lib/adapters/peft.ts";
import { methodByName, methods } from "../lib/adapters/registry.ts";
import { startingWeights } from "../lib/adapters/starting_weights.ts";
import { attachSystem } from "../lib/adapters/systems.ts";
import { countMethod } from "../lib/analysis/counts.ts";
import { shapeOf } from "../lib/analysis/shapes.ts";
import { encoderConfigOf } from "../lib/models/hugging_face_config.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import type { Model } from "../lib/models/model.ts";
import { publishedEncoder } from "../lib/models/published_configs.ts";
import { unloadedEncoder } from "../lib/models/unloaded_encoder.ts";
import { classification } from "../lib/objectives/classification.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { estimateTraining } from "../lib/train/estimate.ts";
import { fineTune } from "../lib/train/fine_tune.ts";
import { cases } from "./support/bert_reference.ts";
import { letters } from "./support/letters.ts";
import { testGpu } from "./support/ops.ts";
import { writeCheckpoint } from "./support/seeded_checkpoint.ts";

const saved = methods.filter(({ peft }) => peft);

/** Layers of 300 and 1200, which 16 does not divide. */
const odd = encoderConfigOf("odd", {
  model_type: "bert",
  hidden_size: 300,
  num_hidden_layers: 2,
  num_attention_heads: 15,
  intermediate_size: 1200,
  hidden_act: "gelu",
  vocab_size: 30522,
  max_position_embeddings: 512,
});

const published = ["roberta-base", "bert-base-uncased", "sentence-transformers/all-MiniLM-L6-v2"];
/** With a small vocabulary, since a dry run fills the word embeddings with zeros. */
const models: readonly Model[] = [
  ...published.map((id) => unloadedEncoder(id, { ...publishedEncoder(id)!, vocabulary: 100 })),
  unloadedEncoder("odd", { ...odd, vocabulary: 100 }),
];

/** As `deno task finetune` attaches a method for which no size is given. */
const attachOwn = (model: Model, method: string, target: readonly string[]) =>
  attachSystem(model, { label: method, method, options: {} }, { target }, 0.05);

const objective = (model: Model) => classification.of(model, { texts: 1, classes: 2 });
const options = { learningRate: 1e-3, epochs: 1, batchSize: 2, warmupRatio: 0, seed: 0 };
const examples = [{ texts: [[1, 2, 3]], label: 0 }, { texts: [[1, 2]], label: 1 }];

for (const { name } of saved) {
  Deno.test(`${name} fits RoBERTa-base, BERT-base, MiniLM and an odd width with its own defaults, and can be saved`, async () => {
    for (const model of models) {
      const every = ["query", "key", "value", "output.dense", "intermediate.dense"];
      const adapter = attachOwn(model, name, every);
      checkSavable(model, adapter);
      assert.deepEqual(adapter.options, { ...adapter.method.defaults, dropout: 0.05 });
      const { trainable } = countMethod(shapeOf(model), adapter.method, {}, { target: every }, 512);
      assert.equal(adapter.trainableParameters, trainable);
      const one = attachOwn(model, name, ["query", "value"]);
      const parts = { model, adapter: one, objective: objective(model), train: examples, dev: [] };
      const { steps, largestBuffer } = await estimateTraining({ ...parts, ...options });
      assert.equal(steps, 1);
      assert.ok(largestBuffer.bytes < 128 * 2 ** 20, `${model.name}: ${largestBuffer.label}`);
    }
  });
}

for (const { name } of saved) {
  Deno.test(`${name} with its own defaults: every tensor moves in training, is saved, and loads to the same bits`, async () => {
    const folder = await Deno.makeTempDir();
    await writeCheckpoint(`${folder}/base`, cases.RoBERTa.config);
    const model = await loadEncoder(`${folder}/base`);
    const adapter = attachOwn(model, name, ["query", "value"]);
    const task = { ...letters, name: "words" };
    const example = (i: number) => ({
      id: `${i}`,
      texts: ["a b ".repeat(1 + i % 3) + "c".repeat(i % 2)],
      label: i % 2,
    });
    const split = { train: Array.from({ length: 12 }, (_, i) => example(i)), dev: [example(0), example(1)] };
    const gpu = await testGpu();
    using frozen = FrozenWeights.forTraining(gpu, model);
    const { trained } = await fineTune(
      { gpu, model, frozen, adapter, task, split, ...options, batchSize: 4, epochs: 2 },
    );
    for (const [path, { data }] of startingWeights(model, adapter, 0)) {
      assert.ok(trained.get(path)!.data.some((value, i) => value !== data[i]), `${path} has not moved`);
    }
    await saveAdapter(`${folder}/adapter`, model, adapter, trained);
    const { weights } = await loadAdapter(`${folder}/adapter`, model);
    assert.deepEqual(new Map([...weights].toSorted()), new Map([...trained].toSorted()));
    await Deno.remove(folder, { recursive: true });
  });
}

Deno.test('"auto" blocks suit the rank: minis no smaller than it, and a share of it for each block', () => {
  const [model] = models;
  const blocksAt = (method: typeof melora, r: number) => {
    const adapter = attach(model, method, { r, blocks: "auto", target: ["query"] });
    return adapter.parameters.get("roberta.encoder.layer.0.attention.self.query.A")!;
  };
  // ⌊√768⌋ is 27; 24 divides 768, and so does 12, with minis of 64.
  assert.deepEqual(blocksAt(melora, 8).init, { kind: "kaiming", fan: 768 / 24 });
  assert.deepEqual(blocksAt(melora, 64).init, { kind: "kaiming", fan: 768 / 12 });
  assert.deepEqual(blocksAt(melora, 768).init, { kind: "kaiming", fan: 768 });
  assert.deepEqual(blocksAt(graLora, 8).shape, [8, 96, 8]);
  assert.deepEqual(blocksAt(graLora, 9).shape, [3, 256, 9]);
});

Deno.test("names are known whatever their case and spaces", () => {
  for (const { name } of methods) {
    for (const typed of [name.toLowerCase(), name.replaceAll(" ", "-"), name.replaceAll(" ", "")]) {
      assert.equal(methodByName(typed).name, name);
    }
  }
});
