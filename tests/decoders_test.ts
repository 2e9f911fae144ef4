/** Decoders of every family against transformers and PEFT: see fixtures/decoder_reference.py for how its numbers were made. */

import assert from "node:assert/strict";
import { attach, type AttachOptions } from "../lib/adapters/attach.ts";
import { lora } from "../lib/adapters/lora.ts";
import { loadAdapter, saveAdapter } from "../lib/adapters/peft.ts";
import { methods } from "../lib/adapters/registry.ts";
import { startingWeights } from "../lib/adapters/starting_weights.ts";
import { Writer } from "../lib/generate/writer.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import type { Decoder, Weight } from "../lib/models/model.ts";
import { readSafetensors, toFloat32, writeSafetensors } from "../lib/models/safetensors.ts";
import { classification } from "../lib/objectives/classification.ts";
import { language } from "../lib/objectives/language.ts";
import { objectiveOf } from "../lib/objectives/registry.ts";
import { saveMerged } from "../lib/train/merge_folder.ts";
import { Trainer } from "../lib/train/trainer.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import { logitsOf } from "./support/decoder_logits.ts";
import {
  cases,
  type DecoderCase,
  loraOptions,
  rows,
  trainingOptions,
  trainingSteps,
  writeDecoder,
} from "./support/decoder_reference.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";
import { seeded } from "./support/seeded_checkpoint.ts";

const ids = rows.map((row) => row.ids);
const examples = rows.map(({ ids, labelled }) => ({
  texts: [ids],
  labelled,
  label: labelled.filter(Boolean).length,
}));

/** Runs `body` with the case's decoder, loaded from its folder. */
async function withDecoder(of: DecoderCase, body: (model: Decoder, folder: string) => Promise<void>) {
  await withFolder(async (folder) => {
    await writeDecoder(`${folder}/model`, of);
    await body(await loadDecoder(`${folder}/model`), `${folder}/model`);
  });
}

/** A trainer on both rows in one batch, its adapter seeded by name. */
async function trainerFor(
  model: Decoder,
  changes: { readonly recompute?: boolean; readonly batchSize?: number } = {},
) {
  const trainer = new Trainer({
    gpu: await testGpu(),
    model,
    adapter: attach(model, lora, loraOptions),
    objective: language.of(model, { texts: 1, classes: 0 }),
    examples,
    ...trainingOptions,
    epochs: trainingSteps,
    batchSize: 2,
    seed: 0,
    ...changes,
  });
  for (const [name, { shape }] of await trainer.weights()) trainer.trainable.write(name, seeded(name, shape));
  return trainer;
}

/** The logits of both rows. */
async function logitsOfRows(model: Decoder): Promise<number[]> {
  return (await logitsOf(await testGpu(), model, ids)).flatMap((row) => [...row]);
}

Deno.test("an example whose text was cut and its learnt tokens were not is refused: they would fall into the next one", () =>
  withDecoder(cases.Qwen3, async (model) => {
    const cut = { ...examples[0], texts: [ids[0].slice(0, -1)] };
    const parts = { gpu: await testGpu(), model, adapter: attach(model, lora, loraOptions) };
    const objective = objectiveOf(model, { objective: "language", labels: [] }, { texts: [""] });
    const own = { ...trainingOptions, epochs: 1, batchSize: 2, seed: 0 };
    const length = ids[0].length;
    assert.throws(
      () => new Trainer({ ...parts, objective, examples: [cut, examples[1]], ...own }),
      new RegExp(`example 0: labelled is of ${length} tokens, and it has ${length - 1}: cut both alike`),
    );
  }));

for (const method of methods.filter(({ peft }) => peft)) {
  Deno.test(`${method.name} on a decoder: trains, is saved as PEFT's CAUSAL_LM, loads, writes, and merges into a folder`, () =>
    withDecoder(cases.Qwen3, async (model, folder) => {
      const gpu = await testGpu();
      const own = { r: 4, blocks: 4, every: 2, restartWarmup: 1, dropout: 0 };
      const given = Object.fromEntries(Object.entries(own).filter(([name]) => name in method.defaults));
      const adapter = attach(model, method, { ...given, target: ["q_proj", "v_proj"] } as AttachOptions);
      const objective = language.of(model, { texts: 1, classes: 0 });
      using trainer = new Trainer({
        ...{ gpu, model, adapter, objective, examples, ...trainingOptions },
        ...{ epochs: 1, batchSize: 1, learningRate: 1e-2, seed: 0 },
      });
      const before = await trainer.predict(examples);
      await trainer.epoch();
      const after = await trainer.predict(examples);
      assert.ok(after[0][0] + after[1][0] < before[0][0] + before[1][0], `${before} to ${after}`);
      const weights = await trainer.weights();
      await saveAdapter(`${folder}-adapter`, model, adapter, weights);
      const config = JSON.parse(await Deno.readTextFile(`${folder}-adapter/adapter_config.json`));
      assert.deepEqual([config.task_type, config.modules_to_save], ["CAUSAL_LM", null]);
      const loaded = await loadAdapter(`${folder}-adapter`, model);
      assert.deepEqual(new Map([...loaded.weights].toSorted()), new Map([...weights].toSorted()));
      using writer = new Writer({ gpu, model, ...loaded });
      const scores = await writer.score(ids.map((row) => row.slice(0, 4)), [[5, 6]]);
      if (!method.mergeable) return;
      await saveMerged(gpu, folder, `${folder}-adapter`, `${folder}-merged`);
      const merged = await loadDecoder(`${folder}-merged`);
      using ofMerged = new Writer({ gpu, model: merged });
      const again = await ofMerged.score(ids.map((row) => row.slice(0, 4)), [[5, 6]]);
      scores.forEach(([score], i) =>
        assert.ok(Math.abs(score - again[i][0]) < 1e-4, `${score}, ${again[i][0]}`)
      );
      assert.notDeepEqual(await logitsOfRows(merged), await logitsOfRows(model));
    }));
}

/** Writes a tied decoder's trained embeddings, and what `change` makes of the adapter's files, in `folder`. */
async function trainTable(
  model: Decoder,
  folder: string,
  change: (tensors: Map<string, Weight>, metadata: Record<string, string>) => void = () => {},
): Promise<ReadonlyMap<string, Weight>> {
  const adapter = attach(model, lora, { r: 2, target: ["q_proj"], modulesToSave: ["embed_tokens"] });
  const weights = new Map(
    [...startingWeights(model, adapter, 0)].map(([name, { shape, data }]) => {
      const moved = seeded(name, shape);
      return [name, { shape, data: data.map((value, i) => value + moved[i]) }];
    }),
  );
  await saveAdapter(folder, model, adapter, weights);
  const path = `${folder}/adapter_model.safetensors`;
  const { tensors, metadata } = await readSafetensors(path);
  const own = new Map([...tensors].map(([key, tensor]): [string, Weight] => [
    key,
    { shape: tensor.shape, data: toFloat32(tensor) },
  ]));
  const { format: _, ...said } = metadata;
  change(own, said);
  await writeSafetensors(path, own, said);
  return weights;
}

const headKey = "base_model.model.lm_head.weight";

Deno.test("a decoder's adapter that was trained with a head for texts is saved and loaded with it", () =>
  withDecoder(cases["SmolLM2"], async (model, folder) => {
    const adapter = attach(model, lora, { r: 2, target: ["q_proj"] });
    const head = [...classification.of(model, { texts: 1, classes: 3 }).parameters].map((
      [name, { shape }],
    ): [string, Weight] => [name, { shape, data: seeded(name, shape) }]);
    const own = startingWeights(model, adapter, 0);
    await saveAdapter(`${folder}/adapter`, model, adapter, new Map([...own, ...head]));
    const { weights } = await loadAdapter(`${folder}/adapter`, model);
    assert.deepEqual([...weights].toSorted(), [...own, ...head].toSorted());
    const taskOf = async () =>
      JSON.parse(await Deno.readTextFile(`${folder}/adapter/adapter_config.json`)).task_type;
    assert.equal(await taskOf(), null);
    await saveAdapter(`${folder}/adapter`, model, adapter, own);
    assert.equal(await taskOf(), "CAUSAL_LM");
  }));

Deno.test("embeddings that are also the head are trained as one: PEFT's folder says so, and one that trains two is refused", () =>
  withDecoder(cases.SmolLM2, async (model, folder) => {
    const at = `${folder}-adapter`;
    const weights = await trainTable(model, at, (tensors) => {
      assert.deepEqual(tensors.get(headKey), tensors.get("base_model.model.model.embed_tokens.weight"));
    });
    const { ensure_weight_tying, modules_to_save } = JSON.parse(
      await Deno.readTextFile(`${at}/adapter_config.json`),
    );
    assert.deepEqual([ensure_weight_tying, modules_to_save], [true, ["embed_tokens", "lm_head"]]);
    const sorted = (of: ReadonlyMap<string, Weight>) => new Map([...of].toSorted());
    assert.deepEqual(sorted((await loadAdapter(at, model)).weights), sorted(weights));
    const load = async (change: Parameters<typeof trainTable>[2]) => {
      await trainTable(model, at, change);
      return (await loadAdapter(at, model, methods, () => {})).weights;
    };
    await assert.rejects(
      load((tensors, metadata) => {
        tensors.delete(headKey);
        for (const key of Object.keys(metadata)) delete metadata[key];
      }),
      /holds the embeddings alone that were trained, .* which PEFT trains as two: train it with ensure_weight_tying=True/,
    );
    await assert.rejects(
      load((tensors) => void (tensors.get(headKey)!.data[0] += 1)),
      /holds another head than the embeddings/,
    );
    // As this library wrote it before.
    assert.deepEqual(sorted(await load((tensors) => void tensors.delete(headKey))), sorted(weights));
    const [untied, untiedFolder] = [cases["LLaMA 2"], `${folder}-untied`];
    await writeDecoder(untiedFolder, untied);
    await trainTable(await loadDecoder(untiedFolder), at, (tensors) => assert.ok(!tensors.has(headKey)));
    await loadAdapter(at, await loadDecoder(untiedFolder));
  }));

Deno.test("a head that a tied base stores and does not use is left out where its embeddings are merged", () => {
  const { tensors, ...rest } = cases.SmolLM2;
  const stale = { ...tensors, "lm_head.weight": tensors["model.embed_tokens.weight"] };
  return withDecoder({ ...rest, tensors: stale }, async (model, folder) => {
    const weights = await trainTable(model, `${folder}-table`);
    const adapter = attach(model, lora, loraOptions);
    await saveAdapter(`${folder}-plain`, model, adapter, startingWeights(model, adapter, 0));
    for (const [name, keeps] of [["table", false], ["plain", true]] as const) {
      await saveMerged(await testGpu(), folder, `${folder}-${name}`, `${folder}-merged-${name}`);
      const merged = await readSafetensors(`${folder}-merged-${name}/model.safetensors`);
      assert.equal(merged.tensors.has("lm_head.weight"), keeps);
      if (keeps) continue;
      const table = "model.embed_tokens.weight";
      assert.deepEqual(toFloat32(merged.tensors.get(table)!), weights.get(table)!.data);
    }
  });
});

Deno.test("a tied base that stores another head than its embeddings is refused: versions of transformers take either", () =>
  withFolder(async (folder) => {
    const { config, ...rest } = cases["LLaMA 2"];
    await writeDecoder(folder, { config, ...rest });
    await loadDecoder(folder);
    const tied = JSON.stringify({ ...config, tie_word_embeddings: true });
    await Deno.writeTextFile(`${folder}/config.json`, tied);
    const handles = () => Deno.build.os === "linux" ? [...Deno.readDirSync("/proc/self/fd")].length : 0;
    const before = handles();
    await assert.rejects(
      loadDecoder(folder),
      /by config\.json the head is the table of embeddings, .* another "lm_head\.weight": set tie_word_embeddings/,
    );
    assert.equal(handles(), before);
  }));

Deno.test("a decoder's merged folder has all that describes the base, and nothing else", () =>
  withDecoder(cases.SmolLM2, async (model, folder) => {
    await Deno.mkdir(`${folder}/additional_chat_templates`);
    const added = ["tokenizer.model", "special_tokens_map.json", "additional_chat_templates/rag.jinja"];
    for (const name of added) await Deno.writeTextFile(`${folder}/${name}`, "{}");
    for (const other of ["additional_chat_templates/notes.txt", "notes.txt", ".env"]) {
      await Deno.writeTextFile(`${folder}/${other}`, "of somebody");
    }
    const adapter = attach(model, lora, loraOptions);
    await saveAdapter(`${folder}-adapter`, model, adapter, startingWeights(model, adapter, 0));
    await saveMerged(await testGpu(), folder, `${folder}-adapter`, `${folder}-merged`);
    const copied = [
      "config.json",
      "generation_config.json",
      "tokenizer.json",
      "tokenizer_config.json",
      ...added,
    ];
    for (const name of copied) {
      const [own, theirs] = [`${folder}-merged/${name}`, `${folder}/${name}`];
      assert.equal(await Deno.readTextFile(own), await Deno.readTextFile(theirs), name);
    }
    const found = [...Deno.readDirSync(`${folder}-merged`)].map(({ name }) => name);
    const names = copied.map((path) => path.split("/")[0]);
    assert.deepEqual(found.toSorted(), [...names, "README.md", "model.safetensors"].toSorted());
    const templates = [...Deno.readDirSync(`${folder}-merged/additional_chat_templates`)];
    assert.deepEqual(templates.map(({ name }) => name), ["rag.jinja"]);
  }));

for (const [name, expected] of Object.entries(cases)) {
  Deno.test(`${name}: the logits are transformers', alone and in a padded batch`, () =>
    withDecoder(expected, async (model) => {
      const gpu = await testGpu();
      const padded = await logitsOf(gpu, model, ids, 16);
      const alone = await Promise.all(ids.map(async (row) => (await logitsOf(gpu, model, [row]))[0]));
      expected.logits.forEach((logits, i) => {
        for (const ours of [padded[i], alone[i]]) {
          const error = relativeError(ours, logits);
          assert.ok(error <= 1e-4, `row ${i}: relative error ${error}`);
        }
      });
    }));

  Deno.test(`${name}: three steps' losses and the first gradients are PEFT's, also recomputed and row by row`, () =>
    withDecoder(expected, async (model) => {
      const gpu = await testGpu();
      const { losses, gradients } = expected.training;
      for (const changes of [{}, { recompute: true }, { batchSize: 1, accumulationSteps: 2 }]) {
        using trainer = await trainerFor(model, changes);
        const records = [];
        for (const epoch of losses.keys()) {
          records.push(...await trainer.epoch());
          if (epoch > 0 || "batchSize" in changes) continue;
          assert.deepEqual(trainer.trainable.names.toSorted(), Object.keys(gradients).toSorted());
          for (const [tensor, values] of Object.entries(gradients)) {
            const { buffer, offset, bytes } = trainer.trainable.gradientView(tensor);
            const gradient = new Float32Array(await gpu.read(buffer, bytes, offset));
            const error = relativeError(gradient, values);
            assert.ok(error <= 1e-3, `gradient of ${tensor}: relative error ${error}`);
          }
        }
        const error = relativeError(records.map(({ loss }) => loss), losses);
        assert.ok(error <= 1e-3, `${JSON.stringify(changes)}: losses ${records.map(({ loss }) => loss)}`);
      }
    }));

  for (const [what, { config, lastLogits, differences }] of Object.entries(expected.without)) {
    Deno.test(`${name}: ${what} matters, and is read from the configuration`, async () => {
      assert.ok(Math.max(...differences) > 1e-3, `without it logits move by ${Math.max(...differences)}`);
      if (config === null) return;
      const head = { "lm_head.weight": expected.tensors["model.embed_tokens.weight"] };
      const tensors = config.tie_word_embeddings === false
        ? { ...expected.tensors, ...head }
        : expected.tensors;
      const other = {
        ...expected,
        tensors,
        // The reference made its layer_types from the changed fields.
        config: { ...expected.config, layer_types: undefined, ...config } as DecoderCase["config"],
      };
      await withDecoder(other, async (model) => {
        const [logits] = await logitsOf(await testGpu(), model, ids);
        const error = relativeError(logits.subarray(-lastLogits.length), lastLogits);
        assert.ok(error <= 1e-4, `relative error ${error}`);
      });
    });
  }
}
