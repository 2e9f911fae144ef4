/**
 * A base model is identified by the values of its weights: which bases count as the same, as doubtful, and as
 * different (refused).
 */

import assert from "node:assert/strict";
import { attach, type AttachOptions } from "../lib/adapters/attach.ts";
import { lora } from "../lib/adapters/lora.ts";
import type { Method } from "../lib/adapters/method.ts";
import { loadAdapter, saveAdapter } from "../lib/adapters/peft.ts";
import { reLora } from "../lib/adapters/relora.ts";
import { startingWeights } from "../lib/adapters/starting_weights.ts";
import type { WritablePacking } from "../lib/graph/storages/registry.ts";
import { fingerprintsOf } from "../lib/models/fingerprint.ts";
import { readTensorPlaces } from "../lib/models/hugging_face_weights.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import type { Model, Weight } from "../lib/models/model.ts";
import { packModel } from "../lib/models/packing.ts";
import { fromFloat32, readSafetensors, toFloat32, writeSafetensors } from "../lib/models/safetensors.ts";
import { writeTensors } from "../lib/models/safetensors_writer.ts";
import { PieceRoom, StoredWeight } from "../lib/models/stored_weight.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { digestOfValues, PassingDigest } from "../lib/models/values_digest.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { AdaptedModel } from "../lib/train/adapted_model.ts";
import { saveMerged } from "../lib/train/merge_folder.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { cases } from "./support/bert_reference.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";
import { type CheckpointOptions, seeded, writeCheckpoint } from "./support/seeded_checkpoint.ts";
import { tinyBert } from "./support/tiny_bert.ts";

/** Saves an untrained adapter on `model` with a head of two outputs. */
async function saveOn(
  model: Model,
  folder: string,
  { method = lora as Method, ...options }: { method?: Method } & Partial<AttachOptions> = {},
): Promise<void> {
  const adapter = attach(model, method, { r: 1, target: ["query"], ...options } as AttachOptions);
  const weights = startingWeights(model, adapter, 0);
  const grown = method.restarts ? adapter.modules.map(({ module }) => `${module.path}.weight`) : [];
  for (const name of grown) weights.set(name, model.weights.get(name)!);
  const { projection } = model.head;
  weights.set(`${projection}.weight`, { shape: [2, model.width], data: new Float32Array(2 * model.width) });
  weights.set(`${projection}.bias`, { shape: [2], data: new Float32Array(2) });
  await saveAdapter(folder, model, adapter, weights);
}

/** What is reported while the adapter in `folder` is loaded for `model`. */
async function told(folder: string, model: Model): Promise<string[]> {
  const lines: string[] = [];
  await loadAdapter(folder, model, undefined, (line) => lines.push(line));
  return lines;
}

/** `model` with one value of a weight changed to the next float32. */
function nudged(model: Model, name: string): Model {
  const { shape, data } = model.weights.get(name)!;
  const changed = data.slice();
  new Uint32Array(changed.buffer)[changed.length - 1] ^= 1;
  return { ...model, weights: new Map<string, Weight>([...model.weights, [name, { shape, data: changed }]]) };
}

const query = "bert.encoder.layer.0.attention.self.query.weight";
const oneWeight =
  /trained on other values than ".*" has .*: 1 of \d+ weights differ, such as ".*": load the model/;

Deno.test("the same values are the same base: by whatever path, in whatever files, under whatever names, beside whatever else", () =>
  withFolder(async (folder) => {
    const adapter = `${folder}/adapter`;
    await writeCheckpoint(`${folder}/base`, tinyBert);
    await saveOn(await loadEncoder(`${folder}/base`), adapter);
    const variants: Record<string, CheckpointOptions> = {
      renamed: {},
      "snapshots/0123456789": {},
      shards: { shards: 3 },
      bare: { rename: (name) => name.replace("bert.", "") },
      older: {
        rename: (name) => name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"),
      },
    };
    for (const [name, options] of Object.entries(variants)) {
      await writeCheckpoint(`${folder}/${name}`, tinyBert, options);
      assert.deepEqual(await told(adapter, await loadEncoder(`${folder}/${name}`)), [], name);
    }
    // With a head, a buffer of positions, and in a dtype that holds all of a float32.
    await writeCheckpoint(`${folder}/whole`, tinyBert);
    const extra = { "classifier.weight": [3, 64], "bert.embeddings.position_ids": [1, 512] };
    await rewrite(`${folder}/base`, `${folder}/whole`, "F64", extra);
    assert.deepEqual(await told(adapter, await loadEncoder(`${folder}/whole`)), []);
  }));

/** Writes the tensors of `from` into `to`, and others of zeros, in a dtype. */
async function rewrite(
  from: string,
  to: string,
  dtype: "F64" | "F32" | "F16" | "BF16",
  extra: Readonly<Record<string, readonly number[]>> = {},
): Promise<void> {
  const read = (await readSafetensors(`${from}/model.safetensors`)).tensors;
  const zeros = Object.entries(extra).map(([name, shape]) => ({
    name,
    shape,
    values: new Float32Array(shape.reduce((a, b) => a * b)),
  }));
  const all = [...read.values().map((tensor) => ({ ...tensor, values: toFloat32(tensor) })), ...zeros];
  await writeTensors(
    `${to}/model.safetensors`,
    all.map(({ name, shape, values }) => ({
      name,
      dtype,
      shape,
      async *pieces() {
        const { buffer, byteOffset, byteLength } = await Promise.resolve(fromFloat32(name, dtype, values));
        yield new Uint8Array(buffer, byteOffset, byteLength);
      },
    })),
  );
}

Deno.test("other values in the same form are refused wherever a base is loaded, and no folder is left", () =>
  withFolder(async (folder) => {
    const [base, adapter, merged] = ["bert", "adapter", "merged"].map((name) => `${folder}/${name}`);
    await writeCheckpoint(base, tinyBert);
    const model = await loadEncoder(base);
    await saveOn(nudged(model, query), adapter);
    const refused = new RegExp(
      String
        .raw`adapter_model\.safetensors: the adapter was trained on other values than "bert" has \(its base was called ` +
        String.raw`"bert"\): 1 of 23 weights differ, such as "${RegExp.escape(query)}": load the model`,
    );
    await assert.rejects(() => told(adapter, model), refused);
    using adapted = new AdaptedModel(await testGpu(), model);
    await assert.rejects(() => adapted.load("mine", adapter), refused);
    assert.deepEqual(adapted.names, []);
    await assert.rejects(async () => saveMerged(await testGpu(), base, adapter, merged), refused);
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name).toSorted(), ["adapter", "bert"]);
    // Any weight counts, and one that the base did not have.
    const bias = "bert.embeddings.LayerNorm.bias";
    await saveOn(model, adapter);
    await assert.rejects(() => told(adapter, nudged(model, bias)), oneWeight);
    const more = new Map([...model.weights, ["bert.more", model.weights.get(bias)!] as const]);
    await assert.rejects(() => told(adapter, { ...model, weights: more }), oneWeight);
    await saveOn({ ...model, weights: more }, adapter);
    await assert.rejects(() => told(adapter, model), oneWeight);
  }));

Deno.test("another form of a model is reported as a doubt: F16 and BF16 of F32; the same values in F32 again are not", () =>
  withFolder(async (folder) => {
    const [base, adapter] = [`${folder}/base`, `${folder}/adapter`];
    await writeCheckpoint(base, tinyBert);
    await saveOn(await loadEncoder(base), adapter);
    for (const dtype of ["F16", "BF16"] as const) {
      const [small, back] = [`${folder}/${dtype}`, `${folder}/${dtype}-as-F32`];
      await writeCheckpoint(small, tinyBert, { dtype });
      await writeCheckpoint(back, tinyBert);
      await rewrite(small, back, "F32");
      const lines = await told(adapter, await loadEncoder(small));
      assert.equal(lines.length, 1);
      assert.match(
        lines[0],
        new RegExp(`^${adapter}/adapter_model.safetensors: .* another form .*"${dtype}"`),
      );
      assert.match(lines[0], new RegExp(`was F32 and is ${dtype}; make sure`));
      await saveOn(await loadEncoder(small), `${adapter}-${dtype}`);
      assert.deepEqual(await told(`${adapter}-${dtype}`, await loadEncoder(back)), []);
      assert.match((await told(`${adapter}-${dtype}`, await loadEncoder(base)))[0], /was B?F16 and is F32/);
      // Rounded copies of one dtype are compared bit by bit.
      const other = nudged(await loadEncoder(back), query);
      await assert.rejects(() => told(adapter, other), /trained on other values/);
    }
  }));

Deno.test("a packed model is known by the values that it was packed from", () =>
  withFolder(async (folder) => {
    const read = async () => (await writeCheckpoint(folder, tinyBert), await loadEncoder(folder));
    const made = () => Promise.resolve(tinyEncoder());
    for (const [load, packable] of [[read, query], [made, "query.weight"]] as const) {
      const model = await load();
      const adapter = `${folder}/adapter`;
      const packed = (packing: WritablePacking, of = model) => packModel(of, packing);
      await saveOn(packed("int8"), adapter);
      assert.deepEqual(await told(adapter, packed("int8", await load())), []);
      assert.match(
        (await told(adapter, packed("int4")))[0],
        /was F32 packed as int8 and is F32 packed as int4/,
      );
      assert.match((await told(adapter, model))[0], /was F32 packed as int8 and is F32; make sure/);
      for (const other of [nudged(model, packable), packed("int8", nudged(model, packable))]) {
        await assert.rejects(() => told(adapter, other), oneWeight);
      }
      await saveOn(model, adapter);
      assert.match((await told(adapter, packed("f16")))[0], /was F32 and is F32 packed as f16/);
    }
  }));

Deno.test("models that are made in memory are known in the same way, USE-lite among them", () =>
  withFolder(async (folder) => {
    for (const [load, name] of [[tinyEncoder, "ffn.in.bias"], [loadUseLite, "pooler.bias"]] as const) {
      await saveOn(await load(), folder);
      assert.deepEqual(await told(folder, { ...await load(), name: "another" }), []);
      await assert.rejects(async () => told(folder, nudged(await load(), name)), oneWeight);
    }
  }));

Deno.test("a folder that does not identify its base is loaded with a notice, whatever the base's name", () =>
  withFolder(async (folder) => {
    const model = tinyEncoder();
    await saveOn(model, folder);
    const [path, configPath] = [`${folder}/adapter_model.safetensors`, `${folder}/adapter_config.json`];
    const tensors = new Map(
      [...(await readSafetensors(path)).tensors].map(([name, tensor]): [string, Weight] => [name, {
        shape: tensor.shape,
        data: toFloat32(tensor).slice(),
      }]),
    );
    const { metadata } = await readSafetensors(path);
    const config = JSON.parse(await Deno.readTextFile(configPath));
    for (const base of ["/kaggle/input/bert/pytorch/default/1", "tiny", null, "\u001b[31mred"]) {
      await Deno.writeTextFile(configPath, JSON.stringify({ ...config, base_model_name_or_path: base }));
      await writeSafetensors(path, tensors);
      const lines = await told(folder, model);
      assert.equal(lines.length, 1);
      const called = base ? `its base was called ${JSON.stringify(base)}` : "its base has no name";
      assert.ok(lines[0].startsWith(`${path} does not say which values its base had`), lines[0]);
      assert.ok(lines[0].endsWith(`(${called}): make sure that "tiny" is the same model`), lines[0]);
      await writeSafetensors(path, tensors, { base_weights: metadata.base_weights });
      assert.deepEqual(await told(folder, model), []);
    }
    for (
      const [wrong, message] of [["{", /base_weights: file: is no JSON: save the/], [
        '{"a":"F32 5"}',
        /base_weights: a: is no dtype/,
      ]] as const
    ) {
      await writeSafetensors(path, tensors, { base_weights: wrong });
      await assert.rejects(() => told(folder, model), message);
    }
  }));

Deno.test("weights that the adapter itself replaces may differ in the base", () =>
  withFolder(async (folder) => {
    await writeCheckpoint(folder, tinyBert);
    const model = await loadEncoder(folder);
    const [adapter, norm] = [`${folder}/adapter`, "bert.embeddings.LayerNorm.weight"];
    await saveOn(model, adapter, { modulesToSave: ["embeddings.LayerNorm"] });
    assert.deepEqual(await told(adapter, nudged(model, norm)), []);
    await assert.rejects(() => told(adapter, nudged(model, query)), oneWeight);
    await saveOn(model, adapter, { method: reLora as Method });
    assert.deepEqual(await told(adapter, nudged(model, query)), []);
    await assert.rejects(() => told(adapter, nudged(model, norm)), oneWeight);
  }));

Deno.test("the base is identified by the values that went to the GPU; their files are not read again", () =>
  withFolder(async (folder) => {
    await writeCheckpoint(`${folder}/base`, cases["BERT on pairs"].config, { shards: 2, dtype: "F16" });
    const [model, again] = [await loadEncoder(`${folder}/base`), await loadEncoder(`${folder}/base`)];
    const expected = fingerprintsOf(again);
    using frozen = FrozenWeights.forTraining(await testGpu(), model);
    assert.ok(frozen.view(query));
    await Deno.remove(`${folder}/base`, { recursive: true });
    assert.deepEqual(fingerprintsOf(model), expected);
    await saveOn(model, `${folder}/adapter`);
    assert.deepEqual(await told(`${folder}/adapter`, again), []);
  }));

Deno.test("a table stored in parts has the same digest in whatever order they are read, or if none is read", () =>
  withFolder(async (folder) => {
    await writeCheckpoint(folder, tinyBert);
    const name = "bert.embeddings.position_embeddings.weight";
    const expected = digestOfValues(seeded(name, [512, 64]));
    const model = await loadEncoder(folder);
    const place = (await readTensorPlaces(folder)).get(name)!;
    const cuts = [[0, 100], [100, 101], [101, 512]] as const;
    for (const order of [[0, 1, 2], [2, 1, 0], [1, 0], [0], []]) {
      const digest = new PassingDigest(512 * 64);
      const parts = cuts.map((rows) => new StoredWeight(place, rows, digest));
      for (const part of order) assert.equal(parts[part].data.length, (cuts[part][1] - cuts[part][0]) * 64);
      for (const part of parts) assert.equal(part.digest(new PieceRoom()), expected, `${order}`);
      const weights = new Map(parts.map((part, i) => [`${name}[${cuts[i].join(":")}]`, part]));
      assert.deepEqual([...fingerprintsOf({ ...model, weights })], [[name, {
        sha256: expected,
        dtype: "F32",
      }]]);
    }
  }));
