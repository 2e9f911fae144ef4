/** Adapter folders in PEFT's layout, named adapters on one model, ReLoRA's restarts, and a method of the user's own. */

import assert from "node:assert/strict";
import { attach, type AttachOptions } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { dora } from "../lib/adapters/dora.ts";
import { lora } from "../lib/adapters/lora.ts";
import { lowRankDefaults, type LowRankOptions, type Method } from "../lib/adapters/method.ts";
import { loadAdapter, saveAdapter } from "../lib/adapters/peft.ts";
import { methodByName, methods } from "../lib/adapters/registry.ts";
import { startingWeights } from "../lib/adapters/starting_weights.ts";
import { spectrumOf } from "../lib/analysis/spectrum.ts";
import { interpretedUpdates } from "../lib/analysis/updates.ts";
import { scaleColumns } from "../lib/graph/ops/scale_columns.ts";
import type { Model, Weight } from "../lib/models/model.ts";
import { packModel } from "../lib/models/packing.ts";
import { zeros } from "../lib/models/parameter.ts";
import { readSafetensors, writeSafetensors } from "../lib/models/safetensors.ts";
import { classification } from "../lib/objectives/classification.ts";
import type { Encoded } from "../lib/objectives/objective.ts";
import { AdaptedModel } from "../lib/train/adapted_model.ts";
import { Trainer, type TrainOptions } from "../lib/train/trainer.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { testGpu } from "./support/ops.ts";
import { attachPooled } from "./support/pool.ts";

const model = tinyEncoder();
const target = ["query", "ffn_in"];
const objective = (model: Model) => classification.of(model, { texts: 1, classes: 2 });
const options: TrainOptions = { learningRate: 3e-2, epochs: 3, batchSize: 4, warmupRatio: 0, seed: 1 };
const examples: Encoded[] = Array.from({ length: 12 }, (_, i) => ({
  label: i % 2,
  texts: [Array.from({ length: 1 + (i * 3) % 12 }, (_, j) => (i % 2 * 5 + j) % 11)],
}));
const withAdapter = methods.filter(({ peft }) => peft);

const trainerFor = async (adapter: ReturnType<typeof attach>, changes: Partial<TrainOptions> = {}) =>
  new Trainer({
    gpu: await testGpu(),
    model,
    adapter,
    objective: objective(model),
    examples,
    ...options,
    ...changes,
  });

/** Weights of `method` after an epoch, and the trainer's own predictions. */
async function trained(method: Method, changes: object = {}) {
  const adapter = attachPooled(model, method, target, { dropout: 0, ...changes });
  using trainer = await trainerFor(adapter);
  await trainer.epoch();
  return { adapter, weights: await trainer.weights(), predictions: await trainer.predict(examples) };
}

const flat = (rows: readonly Float32Array[]) => rows.flatMap((row) => [...row]);

for (const method of withAdapter) {
  Deno.test(`${method.name}: save → load → the same predictions, bit for bit`, async () => {
    const folder = await Deno.makeTempDir();
    const { adapter, weights, predictions } = await trained(method, { every: 2, restartWarmup: 1 });
    await saveAdapter(folder, model, adapter, weights);
    using adapted = new AdaptedModel(await testGpu(), model);
    await adapted.load("mine", folder);
    assert.deepEqual(flat(await adapted.predict(objective(model), examples)), flat(predictions));
    const again = await loadAdapter(folder, model);
    assert.equal(again.adapter.method, method);
    assert.deepEqual(again.adapter.options, adapter.options);
    await saveAdapter(`${folder}/again`, model, again.adapter, again.weights);
    for (const file of ["adapter_config.json", "adapter_model.safetensors"]) {
      assert.deepEqual(
        await Deno.readFile(`${folder}/again/${file}`),
        await Deno.readFile(`${folder}/${file}`),
      );
    }
  });
}

Deno.test("a LoRA, a DoRA and a GraLoRA folder have PEFT's keys, shapes and settings", async () => {
  const folder = await Deno.makeTempDir();
  const expected: [Method, string[], Record<string, unknown>][] = [
    [lora, ["lora_A.weight", "lora_B.weight"], { peft_type: "LORA", use_dora: false, use_rslora: false }],
    [methodByName("rsLoRA"), ["lora_A.weight", "lora_B.weight"], { peft_type: "LORA", use_rslora: true }],
    [dora, ["lora_A.weight", "lora_B.weight", "lora_magnitude_vector"], {
      peft_type: "LORA",
      use_dora: true,
    }],
    [methodByName("GraLoRA"), ["gralora_A", "gralora_B"], { peft_type: "GRALORA", gralora_k: 4, alpha: 6 }],
    [methodByName("HiRA"), ["hira_A", "hira_B"], { peft_type: "HIRA", hira_dropout: 0 }],
  ];
  for (const [method, suffixes, settings] of expected) {
    const { adapter, weights } = await trained(method);
    await saveAdapter(folder, model, adapter, weights);
    const { tensors, metadata } = await readSafetensors(`${folder}/adapter_model.safetensors`);
    const keys = ["query", "ffn.in"].flatMap((path) =>
      suffixes.map((end) => `base_model.model.${path}.${end}`)
    );
    const headKeys = ["base_model.model.head.bias", "base_model.model.head.weight"];
    assert.deepEqual([...tensors.keys()].toSorted(), [...keys, ...headKeys].toSorted());
    assert.deepEqual(Object.keys(metadata), ["format", "base_weights", "bora_webgpu_version"]);
    const config = JSON.parse(await Deno.readTextFile(`${folder}/adapter_config.json`));
    assert.deepEqual(Object.keys(config), Object.keys(config).toSorted());
    assert.equal(config.r, 4);
    assert.deepEqual(config.target_modules, ["ffn.in", "query"]);
    assert.deepEqual(config.modules_to_save, ["head"]);
    for (const [name, value] of Object.entries(settings)) assert.equal(config[name], value, name);
  }
  // Every field of peft 0.21.0's LoraConfig and PeftConfig but those it never writes.
  const { adapter, weights } = await trained(lora);
  await saveAdapter(folder, model, adapter, weights);
  const fields = Object.keys(JSON.parse(await Deno.readTextFile(`${folder}/adapter_config.json`)));
  assert.equal(fields.length, 34 + 7);
  for (
    const name of ["lora_alpha", "lora_dropout", "bias", "fan_in_fan_out", "megatron_core", "loftq_config"]
  ) {
    assert.ok(fields.includes(name), name);
  }
});

Deno.test("rank and alpha patterns, layers, regular expressions and modules to save survive a round trip", async () => {
  const folder = await Deno.makeTempDir();
  const adapter = attach(model, lora, {
    r: 4,
    alpha: 8,
    target: /^(query|ffn\.in)$/,
    rankPattern: { "ffn.in": 2 },
    alphaPattern: { query: 5 },
    modulesToSave: ["norm"],
  });
  assert.equal(adapter.parameters.get("ffn.in.A")!.shape[0], 2);
  assert.equal(adapter.trainableParameters, (16 + 16) * 4 + (24 + 16) * 2 + 32);
  using trainer = await trainerFor(adapter);
  await trainer.epoch();
  const weights = await trainer.weights();
  assert.notDeepEqual(weights.get("norm.weight")!.data, model.weights.get("norm.weight")!.data);
  await saveAdapter(folder, model, adapter, weights);
  using adapted = new AdaptedModel(await testGpu(), model);
  await adapted.load("patterned", folder);
  assert.deepEqual(
    flat(await adapted.predict(objective(model), examples)),
    flat(await trainer.predict(examples)),
  );
  await adapted.merge();
  assert.ok(
    relativeError(
      flat(await adapted.predict(objective(model), examples)),
      flat(await trainer.predict(examples)),
    ) < 1e-5,
  );
});

/** Where `adapter` sits and with which options, after a save and a load. */
async function reloaded(adapter: ReturnType<typeof attach>) {
  const folder = await Deno.makeTempDir();
  await saveAdapter(folder, model, adapter, startingWeights(model, adapter, 0));
  const config = JSON.parse(await Deno.readTextFile(`${folder}/adapter_config.json`));
  const places = ({ modules }: typeof adapter) =>
    modules.map(({ module, options }) => [module.path, options]);
  assert.deepEqual(places((await loadAdapter(folder, model)).adapter), places(adapter));
  return config;
}

Deno.test("whatever selects the layers, a save and a load select the same ones with the same options", async () => {
  const common = { r: 4, alpha: 8 };
  // Two patterns that fit one layer: the first counts, and JSON's keys are sorted.
  const overlapping = attach(model, lora, {
    ...common,
    target: ["query", "ffn_in", "ffn_out"],
    rankPattern: { "ffn.in": 2, ".*n": 3, "f.*": 1 },
    alphaPattern: { query: 5 },
  });
  assert.deepEqual(overlapping.modules.map(({ options }) => (options as LowRankOptions).r), [4, 2, 1]);
  const config = await reloaded(overlapping);
  assert.deepEqual(config.rank_pattern, { "^ffn\\.in": 2, "^ffn\\.out": 1 });
  assert.deepEqual(config.alpha_pattern, { "^query": 5 });
  for (
    const target of [/^(QUERY|ffn\.in)$/i, "all-linear", ["ffn.in"], ["query", "value"], ["in"]] as const
  ) {
    await reloaded(attach(model, lora, { ...common, target }));
  }
  assert.deepEqual((await reloaded(attach(model, lora, { target: ["query", "value"] }))).target_modules, [
    "query",
    "value",
  ]);
});

Deno.test("what PEFT's own types cannot say is refused, and no folder is written", async () => {
  const folder = `${await Deno.makeTempDir()}/adapter`;
  const refused = async (method: string, options: object, message: RegExp) => {
    const adapter = attach(model, methodByName(method), { target, ...options });
    await assert.rejects(
      () => saveAdapter(folder, model, adapter, startingWeights(model, adapter, 0)),
      message,
    );
    await assert.rejects(() => Deno.stat(folder), Deno.errors.NotFound);
  };
  const four = { r: 4, blocks: 4 };
  await refused("GraLoRA", { ...four, blocks: "auto" }, /GRALORA wants a number for gralora_k, not "auto"/);
  await refused("GraLoRA", { ...four, alphaPattern: { query: 3 } }, /PEFT's GRALORA has no alpha_pattern/);
  await refused("GraLoRA", { ...four, rankPattern: { query: 8 } }, /PEFT's GRALORA has no rank_pattern/);
});

Deno.test("a configuration that does not fit is refused by its file: patterns in syntax that only Python has, ranks, layers", async () => {
  const folder = await Deno.makeTempDir();
  const adapter = attach(model, lora, { target: ["query"] });
  await saveAdapter(folder, model, adapter, startingWeights(model, adapter, 0));
  const path = `${folder}/adapter_config.json`;
  const config = JSON.parse(await Deno.readTextFile(path));
  const pythons = [
    "query\\Z",
    "query\\z",
    "\\Alayer.*",
    "layer\\.\\d{,2}\\..*query",
    "quer{,}y",
    "[]q]uery",
    "[^]k]uery",
  ];
  for (const pattern of pythons) {
    await Deno.writeTextFile(path, JSON.stringify({ ...config, alpha_pattern: { [pattern]: 64 } }));
    await assert.rejects(
      loadAdapter(folder, model),
      /has (\\Z|\\z|\\A|\{,2\}|\{,\}|\[\]|\[\^\]), which only Python's/,
      pattern,
    );
  }
  for (const wrong of [{ r: 0 }, { lora_alpha: null }, { layers_to_transform: [9] }, { lora_dropout: 2 }]) {
    await Deno.writeTextFile(path, JSON.stringify({ ...config, ...wrong }));
    await assert.rejects(
      loadAdapter(folder, model),
      /^Error: .*adapter_config\.json: /,
      JSON.stringify(wrong),
    );
  }
  const escaped = { ...config, alpha_pattern: { "[\\]q]u\\w{1,2}y": 64 } };
  await Deno.writeTextFile(path, JSON.stringify(escaped));
  const loaded = await loadAdapter(folder, model);
  assert.ok(loaded.adapter.modules.every(({ options }) => (options as { alpha?: number }).alpha === 64));
  await Deno.remove(folder, { recursive: true });
});

Deno.test("folders as PEFT writes them: any case of all-linear, empty patterns, no layers, orthogonal starts", async () => {
  const folder = await Deno.makeTempDir();
  const adapter = attach(model, lora, { target: "all-linear" });
  await saveAdapter(folder, model, adapter, startingWeights(model, adapter, 0));
  const path = `${folder}/adapter_config.json`;
  const config = JSON.parse(await Deno.readTextFile(path));
  const changes = {
    target_modules: "ALL-LINEAR",
    rank_pattern: null,
    alpha_pattern: null,
    layers_to_transform: [],
    init_lora_weights: "orthogonal",
    exclude_modules: [],
    layers_pattern: [],
    layer_replication: [],
    target_parameters: [],
    trainable_token_indices: [],
  };
  await Deno.writeTextFile(path, JSON.stringify({ ...config, ...changes }));
  assert.equal((await loadAdapter(folder, model)).adapter.modules.length, 5);
});

Deno.test("settings that are not known are reported by name, in every method's folder only those", async () => {
  const folder = await Deno.makeTempDir();
  const reported = async (method: Method, changes: object) => {
    const { adapter, weights } = await trained(method);
    await saveAdapter(folder, model, adapter, weights);
    const path = `${folder}/adapter_config.json`;
    const config = JSON.parse(await Deno.readTextFile(path));
    await Deno.writeTextFile(path, JSON.stringify({ ...config, ...changes }));
    const lines: string[] = [];
    await loadAdapter(folder, model, methods, (line) => void lines.push(line));
    return lines;
  };
  for (const method of withAdapter) assert.deepEqual(await reported(method, {}), [], method.name);
  const off = { use_first: false, use_second: null, use_third: [] };
  assert.deepEqual(await reported(lora, off), []);
  const [line, ...others] = await reported(lora, { ...off, use_fourth: true, fifth: { scale: 2 } });
  assert.match(line, /adapter_config\.json: has settings that are not known here .*\(use_fourth, fifth\)/);
  assert.deepEqual(others, []);
  // A scale that HiRA does not have.
  assert.match((await reported(methodByName("HiRA"), { lora_alpha: 64 }))[0], /\(lora_alpha\)/);
});

Deno.test("patterns that give a layer several values of alpha are reported: PEFT sorts them", async () => {
  const folder = await Deno.makeTempDir();
  const adapter = attach(model, lora, { target: ["query", "ffn_in"] });
  await saveAdapter(folder, model, adapter, startingWeights(model, adapter, 0));
  const path = `${folder}/adapter_config.json`;
  const config = JSON.parse(await Deno.readTextFile(path));
  const loaded = async (alpha_pattern: object) => {
    await Deno.writeTextFile(path, JSON.stringify({ ...config, alpha_pattern }));
    const lines: string[] = [];
    const { adapter } = await loadAdapter(folder, model, methods, (line) => void lines.push(line));
    return { alphas: adapter.modules.map(({ options }) => (options as LowRankOptions).alpha), lines };
  };
  const { alphas, lines } = await loaded({ "in": 3, "f.*": 3, "key": 1, "q.*": 5, "query": 7 });
  assert.deepEqual(alphas, [5, 3]);
  assert.equal(lines.length, 1);
  assert.match(lines[0], /adapter_config\.json: alpha_pattern gives "query" several values \(q\.\*, query\)/);
  assert.deepEqual(await loaded({ "in": 3, "f.*": 3, "key": 1, "query": 5 }), { alphas: [5, 3], lines: [] });
});

Deno.test("HiRA's ranks are those of its tensors: PEFT 0.21 gives a first adapter r, whatever rank_pattern says", async () => {
  const folder = await Deno.makeTempDir();
  const hira = methodByName("HiRA");
  const adapter = attach(model, hira, { target, r: 4 } as AttachOptions);
  await saveAdapter(folder, model, adapter, startingWeights(model, adapter, 0));
  const path = `${folder}/adapter_config.json`;
  const config = JSON.parse(await Deno.readTextFile(path));
  const ranks = async (changes: object) => {
    await Deno.writeTextFile(path, JSON.stringify({ ...config, ...changes }));
    const { adapter } = await loadAdapter(folder, model);
    return adapter.modules.map(({ options }) => (options as LowRankOptions).r);
  };
  assert.deepEqual(await ranks({ rank_pattern: { query: 2 } }), [4, 4]);
  // The ranks of a second adapter in PEFT.
  assert.deepEqual(await ranks({ r: 2, rank_pattern: { "query|in": 4 } }), [4, 4]);
  const mixed = attach(model, hira, { target, r: 4, rankPattern: { query: 2 } } as AttachOptions);
  await assert.rejects(
    saveAdapter(folder, model, mixed, startingWeights(model, mixed, 0)),
    /PEFT's HIRA has no rank_pattern: attach an adapter of its own/,
  );
});

Deno.test("a MELoRA without its number of blocks is refused: its tensors have the same shapes for any", async () => {
  const folder = await Deno.makeTempDir();
  const adapter = attach(model, methodByName("MELoRA"), { target, blocks: 4, r: 2 } as AttachOptions);
  await saveAdapter(folder, model, adapter, startingWeights(model, adapter, 0));
  const path = `${folder}/adapter_config.json`;
  const { num_blocks, ...config } = JSON.parse(await Deno.readTextFile(path));
  assert.equal(num_blocks, 4);
  await Deno.writeTextFile(path, JSON.stringify(config));
  await assert.rejects(loadAdapter(folder, model), /"num_blocks" is missing: write the value/);
});

Deno.test("bad adapter folders are refused with what is wrong, and nothing is attached", async () => {
  const folder = await Deno.makeTempDir();
  const { adapter, weights } = await trained(bora);
  const configPath = `${folder}/adapter_config.json`;
  const path = `${folder}/adapter_model.safetensors`;
  const save = () => saveAdapter(folder, model, adapter, weights);
  using adapted = new AdaptedModel(await testGpu(), model);
  const refused = async (change: () => Promise<void>, message: RegExp) => {
    await save();
    await change();
    await assert.rejects(() => adapted.load("bad", folder), message);
    assert.deepEqual(adapted.names, []);
  };
  const edit = (changes: object) => async () => {
    const config = JSON.parse(await Deno.readTextFile(configPath));
    await Deno.writeTextFile(configPath, JSON.stringify({ ...config, ...changes }));
  };
  const rewrite = (change: (tensors: Map<string, Weight>) => void) => async () => {
    const tensors = new Map<string, Weight>();
    for (const [key, { shape, data }] of (await readSafetensors(path)).tensors) {
      tensors.set(key, { shape, data: new Float32Array(data.slice().buffer) });
    }
    change(tensors);
    await writeSafetensors(path, tensors);
  };
  const key = "base_model.model.query.bora_A.weight";
  await refused(edit({ peft_type: "LOHA" }), /no method for peft_type "LOHA".*have LORA/s);
  await refused(edit({ target_modules: ["q_proj"] }), /no target module "q_proj"; it has query/);
  await refused(edit({ target_modules: null }), /target_modules is missing/);
  await refused(edit({ target_modules: "(" }), /target_modules is not a regular expression/);
  await refused(edit({ exclude_modules: ["key"] }), /exclude_modules is not supported/);
  await refused(edit({ rank_pattern: { query: "2" } }), /rank_pattern\.query/);
  await refused(
    edit({ lora_alpha: undefined }),
    /"lora_alpha" is missing: write the value it was trained with/,
  );
  await refused(edit({ r: 99 }), /rank 99 does not fit query/);
  await refused(edit({ r: "eight" }), /r is "eight"; give a number/);
  await refused(edit({ num_blocks: 5 }), /blocks 5 do not divide/);
  await refused(edit({ hybrid_r: 2 }), /hybrid_r changes what the adapter computes/);
  await refused(edit({ bias: "all" }), /adapters with biases are not supported/);
  await refused(edit({ layer_replication: [[0, 1]] }), /layer_replication changes what the adapter computes/);
  await refused(edit({ init_lora_weights: "pissa" }), /init_lora_weights "pissa" changes the base's weights/);
  await refused(edit({ r: 2 }), /"base_model\.model\..*" is \[.*\], not \[.*\]/);
  await refused(() => Deno.writeTextFile(configPath, '{"peft_type": '), /adapter_config\.json is not JSON/);
  await refused(
    rewrite((tensors) => tensors.delete(key)),
    /missing \[base_model\.model\.query\.bora_A\.weight\]/,
  );
  await refused(
    rewrite((tensors) => tensors.set("base_model.model.extra", { shape: [1], data: new Float32Array(1) })),
    /not expected \[base_model\.model\.extra\]/,
  );
  await refused(
    rewrite((tensors) => tensors.get(key)!.data[3] = NaN),
    /"base_model\.model\.query\.bora_A\.weight" holds values that are not finite/,
  );
  await refused(async () => {
    const bytes = await Deno.readFile(path);
    await Deno.writeFile(path, bytes.subarray(0, bytes.length - 4));
  }, /adapter_model\.safetensors/);
  await assert.rejects(
    () => saveAdapter(folder, model, adapter, new Map()),
    /no values for query\.A.*pass every trained tensor/,
  );
  await save();
  const before = await Deno.readFile(path);
  const [name, { shape, data }] = [...weights].at(-1)!;
  const diverged = new Map([...weights, [name, { shape, data: data.map(() => NaN) }]]);
  await assert.rejects(
    () => saveAdapter(folder, model, adapter, diverged),
    new RegExp(`"${name}" holds values that are not finite: train with a lower learning rate`),
  );
  assert.deepEqual(await Deno.readFile(path), before);
});

Deno.test("named adapters: switch, disable, merge, unmerge, delete, and what is refused", async () => {
  const [first, second] = [await trained(lora), await trained(bora)];
  using adapted = new AdaptedModel(await testGpu(), model);
  adapted.add("first", first.adapter, first.weights);
  adapted.add("second", second.adapter, second.weights);
  const predict = async () => flat(await adapted.predict(objective(model), examples));
  const own = { first: flat(first.predictions), second: flat(second.predictions) };
  assert.equal(adapted.active, "first");
  assert.deepEqual(await predict(), own.first);
  adapted.setActive("second");
  assert.deepEqual(await predict(), own.second);
  adapted.disable();
  assert.equal(adapted.active, undefined);
  const bare = await predict();
  assert.ok(relativeError(bare, own.second) > 1e-3);
  await assert.rejects(() => adapted.merge(), /the adapter is disabled: call enable\(\)/);
  adapted.enable();
  const merging = adapted.merge();
  adapted.setActive("first");
  await assert.rejects(() => merging, /"second" is no longer active/);
  adapted.setActive("second");
  await assert.rejects(
    () => adapted.predict(classification.of(model, { texts: 1, classes: 3 }), examples),
    /"head\.weight" of the active adapter "second" is \[2,16\], and the objective wants \[3,16\]: call setActive/,
  );
  assert.deepEqual(await predict(), own.second);

  await adapted.merge();
  const merged = await predict();
  assert.ok(relativeError(merged, own.second) < 1e-5);
  assert.notDeepEqual(
    adapted.mergedWeights().get("query.weight")!.data,
    model.weights.get("query.weight")!.data,
  );
  for (
    const refused of [
      () => adapted.setActive("first"),
      () => adapted.disable(),
      () => adapted.delete("second"),
    ]
  ) {
    assert.throws(refused, /"second" is merged: call unmerge\(\)/);
  }
  adapted.unmerge();
  assert.deepEqual(await predict(), own.second);

  assert.throws(() => adapted.unmerge(), /nothing is merged/);
  assert.throws(() => adapted.setActive("third"), /no adapter "third"; have first, second/);
  assert.throws(
    () => adapted.add("first", first.adapter, first.weights),
    /there is an adapter "first" already/,
  );
  adapted.delete("second");
  assert.deepEqual([adapted.names, adapted.active], [["first"], undefined]);
  await assert.rejects(() => adapted.predict(objective(model), examples), /no adapter is active: add one/);
  await assert.rejects(() => adapted.merge(), /no adapter is active/);
});

Deno.test("what an adapter's outputs mean is saved again as it was loaded, or given", async () => {
  const { adapter, weights } = await trained(lora);
  const folder = await Deno.makeTempDir();
  await saveAdapter(`${folder}/first`, model, adapter, weights, {
    objective: "classification",
    labels: ["sea", "land"],
  });
  using adapted = new AdaptedModel(await testGpu(), model);
  await adapted.load("loaded", `${folder}/first`);
  const { labels, ...loaded } = await loadAdapter(`${folder}/first`, model);
  assert.deepEqual(labels?.id2label, { 0: "sea", 1: "land" });
  adapted.add("given", loaded.adapter, loaded.weights, labels);
  adapted.add("bare", loaded.adapter, loaded.weights);
  const textOf = (name: string) => Deno.readTextFile(`${folder}/${name}/labels.json`);
  for (const name of ["loaded", "given"]) {
    await adapted.save(name, `${folder}/${name}`);
    assert.equal(await textOf(name), await textOf("first"));
  }
  for (const name of ["bare", "given"]) {
    await adapted.save("bare", `${folder}/${name}`);
    await assert.rejects(
      textOf(name),
      Deno.errors.NotFound,
      "no labels, and none of what was saved there before",
    );
  }
});

Deno.test("labels that are not those of the head, or two of one name, are not saved: the folder could not be loaded", async () => {
  const { adapter, weights } = await trained(lora);
  const folder = `${await Deno.makeTempDir()}/adapter`;
  const refused = [
    [
      { objective: "classification", labels: ["sea", "land", "air"] },
      /^Error: the labels: id2label has the ids 0, 1, 2, and the head has 2 outputs/,
    ],
    [
      { objective: "classification", labels: ["sea", "sea"] },
      /^Error: the labels: label2id is not the reverse of id2label: give each class a name of its own/,
    ],
    [
      { objective: "regression", labels: [] },
      /^Error: the labels: id2label has the ids 0, and the head has 2 outputs/,
    ],
  ] as const;
  for (const [task, message] of refused) {
    await assert.rejects(saveAdapter(folder, model, adapter, weights, task), message);
  }
  await assert.rejects(Deno.stat(folder), Deno.errors.NotFound);
});

Deno.test("where an adapter cannot be saved, all of the one that is there stays", async () => {
  const { adapter, weights } = await trained(lora);
  const folder = await Deno.makeTempDir();
  await saveAdapter(folder, model, adapter, weights, {
    objective: "classification",
    labels: ["sea", "land"],
  });
  await Deno.mkdir(`${folder}/adapter_model.safetensors.part`);
  const there = () => [...Deno.readDirSync(folder)].map(({ name }) => name).toSorted();
  const before = there();
  assert.ok(before.includes("labels.json"));
  await assert.rejects(saveAdapter(folder, model, adapter, weights), {
    message: /adapter_model\.safetensors cannot be written \(.*\): nothing was changed there/,
  });
  assert.deepEqual(there(), before);
});

Deno.test("a weighted sum of LoRAs is exact; other methods are refused", async () => {
  const [a, b] = [await trained(lora), await trained(methodByName("rsLoRA"), { r: 2 })];
  const boraOne = await trained(bora);
  using adapted = new AdaptedModel(await testGpu(), model);
  adapted.add("a", a.adapter, a.weights);
  adapted.add("b", b.adapter, b.weights);
  adapted.add("bora", boraOne.adapter, boraOne.weights);
  // As users have them: from folders.
  const folder = await Deno.makeTempDir();
  for (const name of ["a", "b"]) {
    await adapted.save(name, `${folder}/${name}`);
    adapted.delete(name);
    await adapted.load(name, `${folder}/${name}`);
  }
  adapted.addWeighted("sum", { a: 0.7, b: -0.4 });
  await adapted.save("sum", folder);
  const sum = await loadAdapter(folder, model);
  const updates = (
    { adapter, weights }: Pick<typeof a, "adapter"> & { weights: ReadonlyMap<string, Weight> },
  ) => interpretedUpdates(model, adapter, weights);
  const [ua, ub, us] = [updates(a), updates(b), updates(sum)];
  for (const path of ["query", "ffn.in"]) {
    const expected = ua.get(path)!.values.map((value, i) => 0.7 * value - 0.4 * ub.get(path)!.values[i]);
    assert.ok(relativeError(us.get(path)!.values, expected) < 1e-6);
  }
  assert.throws(() => adapted.addWeighted("no", { a: 1, bora: 1 }), /exact for LoRA only, not for BoRA/);
  assert.throws(() => adapted.addWeighted("no", { a: NaN }), /the weight NaN is not a finite number/);
  const normed = attach(model, lora, { target: ["query"], modulesToSave: ["norm"] });
  adapted.add("normed", normed, startingWeights(model, normed, 0));
  assert.throws(
    () => adapted.addWeighted("no", { normed: 1 }),
    /trained modules \(norm\) cannot be combined/,
  );
  assert.throws(() => adapted.addWeighted("a", { a: 1 }), /there is an adapter "a" already/);
});

Deno.test("an adapter is not added with weights that are missing, another's or of another rank", async () => {
  using adapted = new AdaptedModel(await testGpu(), model);
  const [two, one] = [2, 1].map((r) => attach(model, lora, { target: ["query"], r }));
  const weights = startingWeights(model, two, 0);
  const add = (changed: ReadonlyMap<string, Weight>) => adapted.add("it", two, changed);
  assert.throws(
    () => add(startingWeights(model, one, 0)),
    /"query\.A" is \[1,16\], and the adapter's is \[2,16\]/,
  );
  const A = weights.get("query.A")!;
  assert.throws(
    () => add(new Map([...weights, ["query.A", { ...A, shape: A.shape.toReversed() }]])),
    /"query\.A" is \[16,2\], and the adapter's is \[2,16\]/,
  );
  assert.throws(() => add(new Map([["query.A", A]])), /no values for query\.B/);
  assert.throws(
    () => add(new Map([...weights, ["key.A", A]])),
    /"key\.A" is no tensor of this LoRA or of the head/,
  );
  assert.deepEqual(adapted.names, []);
  add(weights);
});

for (const method of withAdapter.filter(({ peft }) => peft!.patterns)) {
  Deno.test(`${method.name}: a rank above a layer's width, as PEFT allows, is trained, saved, loaded and merged`, async () => {
    const folder = await Deno.makeTempDir();
    const { adapter, weights, predictions } = await trained(method, { r: 20 });
    assert.ok(adapter.modules.every(({ module: { m, n } }) => Math.min(m, n) < 20));
    await saveAdapter(folder, model, adapter, weights);
    using adapted = new AdaptedModel(await testGpu(), model);
    await adapted.load("wide", folder);
    assert.deepEqual(flat(await adapted.predict(objective(model), examples)), flat(predictions));
    await adapted.merge();
    const merged = flat(await adapted.predict(objective(model), examples));
    assert.ok(relativeError(merged, flat(predictions)) < 1e-4);
  });
}

Deno.test("a weighted sum whose ranks add up to more than a layer's width is exact as well", async () => {
  const parts = await Promise.all([1, 2, 3].map((seed) => trained(lora, { r: 7, alpha: seed })));
  using adapted = new AdaptedModel(await testGpu(), model);
  parts.forEach(({ adapter, weights }, i) => adapted.add(`${i}`, adapter, weights));
  adapted.addWeighted("sum", { 0: 1, 1: 2, 2: -1 });
  const folder = await Deno.makeTempDir();
  await adapted.save("sum", folder);
  const sum = await loadAdapter(folder, model);
  assert.equal((sum.adapter.options as LowRankOptions).r, 21);
  const [a, b, c] = parts.map(({ adapter, weights }) => interpretedUpdates(model, adapter, weights));
  for (const [path, { values }] of interpretedUpdates(model, sum.adapter, sum.weights)) {
    const expected = values.map((_, i) =>
      a.get(path)!.values[i] + 2 * b.get(path)!.values[i] - c.get(path)!.values[i]
    );
    assert.ok(relativeError(values, expected) < 1e-6, path);
  }
});

Deno.test("printTrainableParameters prints PEFT's line", async () => {
  const { adapter, weights } = await trained(lora);
  using adapted = new AdaptedModel(await testGpu(), model);
  adapted.add("default", adapter, weights);
  const lines: string[] = [];
  const original = console.log;
  console.log = (line: string) => lines.push(line);
  try {
    adapted.printTrainableParameters();
  } finally {
    console.log = original;
  }
  const base = [...model.weights.values()].reduce((sum, { data }) => sum + data.length, 0);
  const own = 4 * (16 + 16) + 4 * (24 + 16);
  const percent = (100 * own / (base + own)).toFixed(4);
  assert.deepEqual(lines, [
    `trainable params: ${own} || all params: ${
      (base + own).toLocaleString("en-US")
    } || trainable%: ${percent}`,
  ]);
});

const reLora = methodByName("ReLoRA");
const reLoraOptions = { dropout: 0, every: 3, restartWarmup: 1, prune: 0.9 };

Deno.test("ReLoRA: a restart changes no prediction, the updates' rank grows, the learning rate warms up again", async () => {
  const adapter = attachPooled(model, reLora, target, { ...reLoraOptions, r: 1 });
  // Three steps an epoch: the second epoch begins with a restart.
  using trainer = await trainerFor(adapter);
  await trainer.epoch();
  const before = { predictions: flat(await trainer.predict(examples)), weights: await trainer.weights() };
  using idle = await trainerFor(adapter, { learningRate: 0 });
  await idle.epoch();
  idle.trainable.restore(await trainer.trainable.state());
  await idle.epoch();
  assert.ok(relativeError(flat(await idle.predict(examples)), before.predictions) < 1e-5);
  assert.ok((await idle.weights()).get("query.B")!.data.every((value) => value === 0));
  assert.notDeepEqual((await idle.weights()).get("query.A"), before.weights.get("query.A"));

  await trainer.epoch();
  const rank = (weights: ReadonlyMap<string, Weight>) => {
    const { values, m, n } = interpretedUpdates(model, adapter, weights).get("query")!;
    const { singularValues } = spectrumOf(values, m, n);
    return singularValues.filter((value) => value > 1e-4 * singularValues[0]).length;
  };
  assert.deepEqual([rank(before.weights), rank(await trainer.weights())], [1, 2]);
});

Deno.test("ReLoRA: no step after a restart throws a weight away", async () => {
  const adapter = attachPooled(model, reLora, target, reLoraOptions);
  using trainer = await trainerFor(adapter, { learningRate: 1e-3, epochs: 4 });
  for (let epoch = 0; epoch < 4; epoch++) await trainer.epoch();
  // Adam moves a weight by about the learning rate a step: 12 steps cannot leave the initial range by more than a little.
  for (const [name, { data }] of await trainer.weights()) {
    if (adapter.parameters.has(name)) assert.ok(data.every((value) => Math.abs(value) < 0.3), name);
  }
});

for (const method of [lora, reLora, bora]) {
  Deno.test(`${method.name}: a run resumed from a checkpoint ends in the same bits`, async () => {
    const adapter = attachPooled(model, method, target, { ...reLoraOptions, dropout: 0.1 });
    using whole = await trainerFor(adapter);
    const path = `${await Deno.makeTempDir()}/state.safetensors`;
    const records = [];
    for (let epoch = 0; epoch < 3; epoch++) {
      records.push(...await whole.epoch());
      if (epoch === 0) await whole.checkpoint(path);
    }
    using resumed = await trainerFor(adapter);
    await resumed.resume(path);
    const again = [...await resumed.epoch(), ...await resumed.epoch()];
    assert.deepEqual(again, records.slice(3));
    assert.deepEqual(await resumed.weights(), await whole.weights());
  });
}

Deno.test("a checkpoint of another run is refused with what differs, and nothing is changed", async () => {
  const adapter = attachPooled(model, bora, target, { dropout: 0 });
  using trainer = await trainerFor(adapter);
  await trainer.epoch();
  const path = `${await Deno.makeTempDir()}/state.safetensors`;
  await trainer.checkpoint(path);
  const refused = async (other: Trainer, message: RegExp) => {
    using run = other;
    const before = await run.trainable.state();
    await assert.rejects(() => run.resume(path), message);
    assert.deepEqual(await run.trainable.state(), before);
  };
  await refused(
    await trainerFor(adapter, { seed: 2 }),
    /another run: its training is .*"seed":1.*, here .*"seed":2/,
  );
  await refused(await trainerFor(adapter, { learningRate: 1e-3 }), /its training is .*0\.03.*here .*0\.001/);
  // All have the same sizes: another method, other options, another layer, other data.
  const pooled = (method: Method, layers: readonly string[], changes: object) =>
    attachPooled(model, method, layers, { dropout: 0, ...changes });
  await refused(
    await trainerFor(pooled(methodByName("BoRA without Exp"), target, {})),
    /its method is "BoRA"/,
  );
  await refused(await trainerFor(pooled(bora, target, { alpha: 7 })), /its layers is .*"alpha":6.*"alpha":7/);
  await refused(
    await trainerFor(pooled(bora, ["key", "ffn_in"], {})),
    /its layers is .*"query".*here .*"key"/,
  );
  const whole = await trainerFor(adapter, { recompute: true, accumulationSteps: 1 });
  await whole.resume(path);
  whole[Symbol.dispose]();
  const packed = packModel(model, "int8");
  const onPacked = attachPooled(packed, bora, target, { dropout: 0 });
  await refused(
    new Trainer({
      gpu: await testGpu(),
      model: packed,
      adapter: onPacked,
      objective: objective(model),
      examples,
      ...options,
    }),
    /its packing is "f32", here "int8"/,
  );
  const shuffled = new Trainer({
    gpu: await testGpu(),
    model,
    adapter,
    objective: objective(model),
    examples: examples.toReversed(),
    ...options,
  });
  await refused(shuffled, /its examples is/);
  const { tensors, metadata } = await readSafetensors(path);
  const damaged = new Map([...tensors].map(([name, { shape, data }]): [string, Weight] => [
    name,
    { shape, data: new Float32Array(data.slice().buffer) },
  ]));
  damaged.get("moment1")!.data[5] = NaN;
  await writeSafetensors(path, damaged, metadata);
  await refused(await trainerFor(adapter), /"moment1" holds values that are not finite/);
  damaged.delete("moment1");
  await writeSafetensors(path, damaged, metadata);
  await refused(await trainerFor(adapter), /"moment1" holds 0 values; this run has/);
  await writeSafetensors(path, damaged);
  await refused(await trainerFor(adapter), /is no checkpoint/);
});

Deno.test("a user's own method is one object: it attaches, trains, merges and is counted", async () => {
  // (IA)³-like: one learned factor an output, y = (1 + v) ⊙ W x + bias.
  const toy: Method<LowRankOptions> = {
    name: "toy",
    summary: "y = W x + v ⊙ W x",
    trainsBase: false,
    defaults: lowRankDefaults,
    parameters: ({ m }) => ({ v: { shape: [m], init: zeros } }),
    forward: ({ base, parameters: { v } }) => scaleColumns(base(), v, { residual: base() }),
    mergeable: true,
    cost: ({ m }) => ({ forward: m, backward: 2 * m, step: 0 }),
    peft: { type: "TOY", keys: { v: "toy_v" }, fields: { r: "r", alpha: "alpha", dropout: "dropout" } },
  };
  const adapter = attach(model, toy, { target: ["query"] });
  assert.equal(adapter.trainableParameters, 16);
  using trainer = await trainerFor(adapter);
  const losses = [...await trainer.epoch(), ...await trainer.epoch(), ...await trainer.epoch()];
  assert.ok(losses.at(-1)!.loss < losses[0].loss);
  const weights = await trainer.weights();
  assert.ok(weights.get("query.v")!.data.some((value) => value !== 0));
  const folder = await Deno.makeTempDir();
  await saveAdapter(folder, model, adapter, weights);
  await assert.rejects(() => loadAdapter(folder, model), /no method for peft_type "TOY"/);
  const loaded = await loadAdapter(folder, model, [...methods, toy as Method]);
  assert.deepEqual(loaded.weights.get("query.v")!.data, weights.get("query.v")!.data);
});
