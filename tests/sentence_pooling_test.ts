/**
 * Encoders whose folders say how tokens are pooled: against transformers' BertModel with peft's LoRA
 * (`fixtures/mean_pooling_reference.py`), trained, saved, merged, resumed, and refused.
 */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { lora } from "../lib/adapters/lora.ts";
import { loadAdapter, saveAdapter } from "../lib/adapters/peft.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import { type Model, plainHead } from "../lib/models/model.ts";
import { publishedEncoder } from "../lib/models/published_configs.ts";
import { readSafetensors } from "../lib/models/safetensors.ts";
import { classification } from "../lib/objectives/classification.ts";
import { AdaptedModel } from "../lib/train/adapted_model.ts";
import { saveMerged } from "../lib/train/merge_folder.ts";
import { Trainer } from "../lib/train/trainer.ts";
import fixture from "./fixtures/mean_pooling_reference.json" with { type: "json" };
import {
  type Case,
  cases as plainCases,
  encoded,
  errorsOf,
  loraOptions,
  trainerFor,
} from "./support/bert_reference.ts";
import { testGpu } from "./support/ops.ts";
import { modulesJson, poolingJson, withPooled, writePooling } from "./support/pooled_folder.ts";

const cases: Readonly<Record<string, Case & { readonly pooling: string }>> = fixture.cases;
const { config, examples } = cases["the mean over a text's tokens"];
const [mean, first] = ["pooling_mode_mean_tokens", "pooling_mode_cls_token"];
const objective = (model: Model) => classification.of(model, { texts: 1, classes: 3 });

for (const [name, expected] of Object.entries(cases)) {
  Deno.test(`${name} as the vector: logits, loss and a step's gradients are transformers'`, () =>
    withPooled(expected.config, expected.pooling, async (folder) => {
      using trainer = await trainerFor(folder, expected);
      for (const [what, error] of await errorsOf(trainer, expected)) {
        assert.ok(error < 1e-5, `${what}: ${error}`);
      }
    }));
}

Deno.test("a BERT without pooling in its folder has its pooler and head as before; with it neither", async () => {
  await withPooled(config, mean, async (folder) => {
    const model = await loadEncoder(folder);
    assert.equal(model.pooling, "mean");
    assert.equal(model.head, plainHead);
    assert.ok([...model.weights.keys()].every((name) => !name.includes("pooler")));
    const every = attach(model, lora, { ...loraOptions, target: "all-linear" });
    assert.equal(every.modules.length, 12);
    assert.throws(() => attach(model, lora, { ...loraOptions, target: ["pooler.dense"] }), /pooler\.dense/);
    await Deno.remove(`${folder}/modules.json`);
    assert.equal((await loadEncoder(folder)).pooling, "mean", "1_Pooling alone says it as well");
    await Deno.remove(`${folder}/1_Pooling`, { recursive: true });
    const plain = await loadEncoder(folder);
    assert.deepEqual([plain.pooling, plain.pooler, plain.head.projection], [
      "first",
      "bert.pooler.dense",
      "classifier",
    ]);
    assert.equal(attach(plain, lora, { ...loraOptions, target: "all-linear" }).modules.length, 13);
  });
  // A checkpoint that lacks its pooler lacks nothing of this model.
  await withPooled(config, mean, async (folder) => {
    const said: string[] = [];
    const { fresh } = await loadEncoder(folder, {}, (line) => said.push(line));
    assert.deepEqual([fresh, said], [[], []]);
  }, { without: /pooler/ });
});

Deno.test("a RoBERTa whose folder asks for the first token, which it takes anyway, stays as it is", () =>
  withPooled(plainCases.RoBERTa.config, first, async (folder) => {
    const model = await loadEncoder(folder);
    assert.deepEqual([model.pooling, model.pooledByFolder, model.head.module], [
      "first",
      undefined,
      "classifier",
    ]);
    await writePooling(folder, poolingJson(mean));
    const pooled = await loadEncoder(folder);
    assert.deepEqual([pooled.pooling, pooled.pooler, pooled.head], ["mean", undefined, plainHead]);
  }));

Deno.test("a folder that sentence-transformers 6 wrote says its pooling by name, and that counts before older flags", () =>
  withPooled(config, mean, async (folder) => {
    const poolingOf = async (json: object) => {
      const modules = modulesJson().replaceAll("models.", "sentence_transformer.modules.pooling.");
      await writePooling(
        folder,
        JSON.stringify({ embedding_dimension: 32, include_prompt: true, ...json }),
        modules,
      );
      return (await loadEncoder(folder)).pooling;
    };
    assert.equal(await poolingOf({ pooling_mode: "cls" }), "first");
    assert.equal(await poolingOf({ pooling_mode: "mean" }), "mean");
    assert.equal(await poolingOf({ pooling_mode: ["mean"] }), "mean");
    assert.equal(await poolingOf({ pooling_mode: "mean", [first]: true }), "mean");
  }));

Deno.test("other poolings, modules and places are refused by the file that asks for them", () =>
  withPooled(config, mean, async (folder) => {
    const refused = async (message: RegExp, pooling: string, modules?: string) => {
      await writePooling(folder, pooling, modules);
      await assert.rejects(() => loadEncoder(folder), message);
    };
    const file = "encoder/1_Pooling/config\\.json";
    await refused(
      new RegExp(
        `${file} asks for pooling_mode_max_tokens: vectors are made here of the mean`,
      ),
      poolingJson("pooling_mode_max_tokens"),
    );
    await refused(
      new RegExp(`${file} asks for pooling_mode_cls_token and pooling_mode_mean_tokens`),
      poolingJson(first, mean),
    );
    await refused(new RegExp(`${file} asks for no pooling`), poolingJson());
    await refused(new RegExp(`${file} asks for lasttoken:`), `{"pooling_mode":"lasttoken"}`);
    await refused(new RegExp(`${file} asks for mean and cls:`), `{"pooling_mode":["mean","cls"]}`);
    await refused(new RegExp(`${file} asks for no pooling`), `{"pooling_mode":[]}`);
    await refused(new RegExp(`${file} asks for pooling_mode_cls_token = 1:`), `{"pooling_mode_cls_token":1}`);
    await refused(new RegExp(`${file} is not JSON`), "{");
    await refused(
      /encoder\/modules\.json: its module "2_Dense" is a Dense, and only Transformer, Pooling, Normalize/,
      poolingJson(mean),
      modulesJson("Dense"),
    );
    const outside = modulesJson().replace("1_Pooling", "../1_Pooling");
    await refused(/modules\.json: 1\.path: name a folder beside it/, poolingJson(mean), outside);
    const elsewhere = modulesJson().replace("1_Pooling", "3_Pooling");
    await refused(/there is no file .*3_Pooling\/config\.json/, poolingJson(mean), elsewhere);
  }));

/** An adapter trained for a few steps on the encoder in `folder`, saved beside it, and its scores. */
async function trained(folder: string) {
  const model = await loadEncoder(folder);
  const adapter = attach(model, lora, loraOptions);
  const options = { learningRate: 1e-2, epochs: 3, batchSize: 4, warmupRatio: 0, seed: 0 };
  using trainer = new Trainer({
    gpu: await testGpu(),
    model,
    adapter,
    objective: objective(model),
    examples: encoded(examples),
    ...options,
  });
  for (let epoch = 0; epoch < options.epochs; epoch++) await trainer.epoch();
  const weights = await trainer.weights();
  await saveAdapter(`${folder}-adapter`, model, adapter, weights);
  await trainer.checkpoint(`${folder}-checkpoint`, {});
  return { weights, scores: (await trainer.predict(encoded(examples))).flatMap((row) => [...row]) };
}

Deno.test("an adapter on pooled vectors is saved with its head, and taken by no model that pools otherwise", () =>
  withPooled(config, mean, async (folder) => {
    const { scores } = await trained(folder);
    const model = await loadEncoder(folder);
    using adapted = new AdaptedModel(await testGpu(), model);
    await adapted.load("saved", `${folder}-adapter`);
    assert.deepEqual(
      (await adapted.predict(objective(model), encoded(examples))).flatMap((row) => [...row]),
      scores,
    );
    const peft = JSON.parse(await Deno.readTextFile(`${folder}-adapter/adapter_config.json`));
    assert.deepEqual(peft.modules_to_save, ["head"]);
    await writePooling(folder, poolingJson(first));
    const load = async () => await loadAdapter(`${folder}-adapter`, await loadEncoder(folder));
    await assert.rejects(load, /trained on vectors pooled as mean, and "encoder" pools as first/);
    await Deno.remove(`${folder}/1_Pooling`, { recursive: true });
    await Deno.remove(`${folder}/modules.json`);
    await assert.rejects(load, /adapter_model\.safetensors.*head/s);
  }));

Deno.test("a checkpoint of a run on mean vectors is not resumed on first tokens", () =>
  withPooled(config, mean, async (folder) => {
    await trained(folder);
    const resume = async () => {
      const model = await loadEncoder(folder);
      const options = { learningRate: 1e-2, epochs: 3, batchSize: 4, warmupRatio: 0, seed: 0 };
      const adapter = attach(model, lora, loraOptions);
      using trainer = new Trainer({
        gpu: await testGpu(),
        model,
        adapter,
        objective: objective(model),
        examples: encoded(examples),
        ...options,
      });
      await trainer.resume(`${folder}-checkpoint`);
    };
    await resume();
    await writePooling(folder, poolingJson(first));
    await assert.rejects(resume, /of another run: its pooling is "mean", here "first"/);
  }));

Deno.test("merge takes along how the tokens are pooled: the folder is read the same, and predicts what the adapter did", () =>
  withPooled(config, mean, async (folder) => {
    await Deno.writeTextFile(`${folder}/sentence_bert_config.json`, `{"max_seq_length":16}`);
    await Deno.writeTextFile(
      `${folder}/config.json`,
      JSON.stringify({ ...config, architectures: ["BertModel"] }),
    );
    const { weights, scores } = await trained(folder);
    const [gpu, out] = [await testGpu(), `${folder}-merged`];
    await saveMerged(gpu, folder, `${folder}-adapter`, out);
    for (const name of ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json"]) {
      assert.equal(
        await Deno.readTextFile(`${out}/${name}`),
        await Deno.readTextFile(`${folder}/${name}`),
        name,
      );
    }
    assert.deepEqual(JSON.parse(await Deno.readTextFile(`${out}/config.json`)).architectures, ["BertModel"]);
    const { tensors } = await readSafetensors(`${out}/model.safetensors`);
    assert.ok(tensors.has("head.weight") && tensors.has("head.bias") && !tensors.has("classifier.weight"));
    assert.ok(tensors.has("bert.pooler.dense.weight"), "the base's own tensors stay");
    const model = await loadEncoder(out);
    assert.equal(model.pooling, "mean");
    // A LoRA of zeros does not change the merged weights.
    const untouched = attach(model, lora, loraOptions);
    const zeros = [...untouched.parameters].map(([name, { shape }]) =>
      [name, { shape, data: new Float32Array(shape[0] * shape[1]) }] as const
    );
    const ofHead = [...weights].filter(([name]) => name.startsWith("head."));
    using adapted = new AdaptedModel(gpu, model);
    adapted.add("none", untouched, new Map([...zeros, ...ofHead]));
    const merged = (await adapted.predict(objective(model), encoded(examples))).flatMap((row) => [...row]);
    merged.forEach((value, i) => assert.ok(Math.abs(value - scores[i]) < 1e-5));
  }));

Deno.test("the vector of a text does not depend on the padding beside it", () =>
  withPooled(config, mean, async (folder) => {
    const expected = cases["the mean over a text's tokens"];
    using trainer = await trainerFor(folder, expected);
    const together = await trainer.predict(encoded(examples));
    for (const [i, example] of encoded(examples).entries()) {
      const [alone] = await trainer.predict([example]);
      alone.forEach((value, j) => assert.ok(Math.abs(value - together[i][j]) < 1e-5));
    }
  }));

Deno.test("MiniLM's published configuration pools as its folder asks: no pooler, and the head on the mean", () => {
  for (const id of ["minilm", "sentence-transformers/all-MiniLM-L6-v2"]) {
    const { pooling, pooler, head } = publishedEncoder(id)!;
    assert.deepEqual([pooling, pooler, head], ["mean", false, plainHead], id);
  }
});
