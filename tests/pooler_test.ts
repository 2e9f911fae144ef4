/** BERT's pooler, a layer that runs once a text: which names choose it, what it counts for, and every method on it. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { lora } from "../lib/adapters/lora.ts";
import { moeLora } from "../lib/adapters/moelora.ts";
import { saveAdapter } from "../lib/adapters/peft.ts";
import { methodByName, methods } from "../lib/adapters/registry.ts";
import type { Targeting } from "../lib/adapters/targeting.ts";
import { countMethod } from "../lib/analysis/counts.ts";
import { shapeOf } from "../lib/analysis/shapes.ts";
import { packModel } from "../lib/models/packing.ts";
import { AdaptedModel } from "../lib/train/adapted_model.ts";
import { Trainer } from "../lib/train/trainer.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import { testGpu } from "./support/ops.ts";
import { objective, texts, tinyEncoders } from "./support/peft_encoders.ts";
import { attachPooled } from "./support/pool.ts";

const encoders = await tinyEncoders(await Deno.makeTempDir());
const [bert, roberta] = [encoders.get("bert")!, encoders.get("roberta")!];
const pooler = "bert.pooler.dense";
const examples = texts.bert.map((ids, label) => ({ texts: [[...ids]], label }));
const options = { learningRate: 1e-2, epochs: 1, batchSize: 3, warmupRatio: 0, seed: 0 };

/** The layers by the ends of their paths after the layer's number. */
const chosen = (targeting: Targeting, model = bert) =>
  attach(model, lora, { r: 2, ...targeting }).modules.map(({ module: { path } }) =>
    path.replace(/^.*layer\.0\./, "")
  );

Deno.test("names choose the layers that PEFT adapts on …ForSequenceClassification", () => {
  const attention = ["query", "key", "value"].map((name) => `attention.self.${name}`);
  const denses = ["attention.output.dense", "intermediate.dense", "output.dense"];
  assert.deepEqual(chosen({ target: "all-linear" }), [...attention, ...denses, pooler]);
  assert.deepEqual(chosen({ target: ["dense"] }), [...denses, pooler]);
  assert.deepEqual(chosen({ target: ["pooler.dense"] }), [pooler]);
  assert.deepEqual(chosen({ target: /dense$/ }), [...denses, pooler]);
  assert.deepEqual(chosen({ target: ["output.dense"] }), [denses[0], denses[2]]);
  assert.deepEqual(chosen({ target: ["query", "value"] }), [attention[0], attention[2]]);
  assert.deepEqual(chosen({ target: "all-linear", layers: [0] }), [...attention, ...denses]);
  assert.deepEqual(chosen({ target: "all-linear", modulesToSave: ["pooler"] }), [...attention, ...denses]);
  assert.deepEqual(chosen({ target: "all-linear", modulesToSave: ["attention"] }), [
    ...denses.slice(1),
    pooler,
  ]);
  // RoBERTa's model has no pooler, and its head is saved whole.
  assert.deepEqual(chosen({ target: "all-linear" }, roberta), [...attention, ...denses]);
  assert.deepEqual(chosen({ target: ["dense"] }, roberta), denses);
  assert.throws(
    () => chosen({ target: ["query", "classifier.dense"] }, roberta),
    /"classifier\.dense" is in roberta's head, which is trained and saved whole: target layers under it, such as query/,
  );
});

Deno.test("modules to save: a container is all that is in it, the head's names change nothing, others are refused", () => {
  const saved = (modulesToSave: string[], model = bert) => [
    ...attach(model, lora, { r: 2, target: ["query"], modulesToSave }).trainedBase,
  ];
  const both = [`${pooler}.weight`, `${pooler}.bias`];
  for (const name of ["pooler", "bert.pooler", "pooler.dense"]) assert.deepEqual(saved([name]), both);
  for (const name of ["classifier", "score"]) assert.deepEqual(saved([name]), []);
  for (const name of ["classifier.out_proj", "out_proj", "classifier.dense"]) {
    assert.deepEqual(saved([name], roberta), []);
    if (name !== "classifier.dense") {
      assert.throws(() => saved([name]), /bert has no module ".*out_proj" to train/);
    }
  }
  assert.equal(saved(["layer.0.output"]).length, 4);
  assert.throws(() => saved(["pooler"], roberta), /roberta has no module "pooler" to train and save/);
});

Deno.test("a layer that runs once a text is trained, and is not counted as if it ran once a token", () => {
  const withPooler = attach(bert, lora, { r: 2, target: "all-linear" });
  const without = attach(bert, lora, { r: 2, target: "all-linear", layers: [0] });
  assert.equal(withPooler.trainableParameters - without.trainableParameters, 2 * (16 + 16));
  assert.equal(withPooler.multiplyAddsPerToken, without.multiplyAddsPerToken);
  assert.equal(bert.multiplyAddsPerToken, 4 * 16 * 16 + 2 * 16 * 24);
  const count = (method: string, targeting: Targeting) =>
    countMethod(shapeOf(bert), methodByName(method), { r: 2 }, targeting, 64);
  const [all, inLayers] = [{ target: "all-linear" }, { target: "all-linear", layers: [0] }] as const;
  assert.equal(count("LoRA", all).baseForward, bert.multiplyAddsPerToken);
  assert.deepEqual({ ...count("LoRA", all), trainable: 0 }, { ...count("LoRA", inLayers), trainable: 0 });
  // Its norms are computed once per step, like those of the other layers.
  const perStep = 16 * 2 * (16 + 16) + 16 * 16;
  assert.equal(count("DoRA", all).trainingStep - count("DoRA", inLayers).trainingStep, perStep / 64);
});

Deno.test("a packed model's pooler is as it was", () => {
  const packed = packModel(bert, "int8");
  assert.ok(packed.weights.has(`${pooler}.weight`));
  assert.equal(packed.packed!.size, 6);
});

Deno.test("MoELoRA's balance on the pooler is over texts: with one expert it is λ, whatever the texts' lengths", async () => {
  const lossWith = async (balance: number) => {
    const adapter = attach(bert, moeLora, { r: 2, experts: 1, balance, target: [pooler] });
    using trainer = new Trainer({
      gpu: await testGpu(),
      model: bert,
      adapter,
      objective: objective(bert),
      examples,
      ...options,
    });
    return (await trainer.epoch())[0].loss;
  };
  assert.ok(Math.abs(await lossWith(0.5) - await lossWith(0) - 0.5) < 1e-6);
});

for (const method of methods.filter(({ peft }) => peft)) {
  Deno.test(`${method.name} on the pooler: trains, saves, loads, merges`, async () => {
    const own = { dropout: 0, every: 2, restartWarmup: 1 };
    const adapter = attachPooled(bert, method, [pooler], own);
    using trainer = new Trainer({
      gpu: await testGpu(),
      model: bert,
      adapter,
      objective: objective(bert),
      examples,
      ...options,
    });
    await trainer.epoch();
    const weights = await trainer.weights();
    const predictions = (await trainer.predict(examples)).flatMap((row) => [...row]);
    const folder = await Deno.makeTempDir();
    await saveAdapter(folder, bert, adapter, weights);
    using adapted = new AdaptedModel(await testGpu(), bert);
    await adapted.load("it", folder);
    const predict = async () => (await adapted.predict(objective(bert), examples)).flatMap((row) => [...row]);
    assert.deepEqual(await predict(), predictions);
    adapted.disable();
    assert.notDeepEqual(await predict(), predictions);
    if (!method.mergeable) return;
    adapted.enable();
    await adapted.merge();
    assert.ok(relativeError(await predict(), predictions) < 1e-5);
  });
}
