/** RoBERTa and BERT from Hugging Face folders: in every layout, with adapters in PEFT's names, and refused. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { full, headOnly } from "../lib/adapters/base_only.ts";
import { lora } from "../lib/adapters/lora.ts";
import { loadAdapter, saveAdapter } from "../lib/adapters/peft.ts";
import { tracer } from "../lib/adapters/trace.ts";
import { taskByName } from "../lib/data/registry.ts";
import { compile } from "../lib/graph/compile.ts";
import { Graph } from "../lib/graph/graph.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import type { Model, Weight } from "../lib/models/model.ts";
import { vectorsOf } from "../lib/models/pooling.ts";
import { readSafetensors } from "../lib/models/safetensors.ts";
import { tableParts } from "../lib/models/stored_weight.ts";
import { classification } from "../lib/objectives/classification.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { tokenInputs } from "../lib/run/step.ts";
import { AdaptedModel } from "../lib/train/adapted_model.ts";
import { encodeExamples } from "../lib/train/fine_tune.ts";
import { Trainer } from "../lib/train/trainer.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import { type Case, cases, encoded, loraOptions, trainerFor } from "./support/bert_reference.ts";
import { testGpu } from "./support/ops.ts";
import {
  bytesIn,
  type CheckpointOptions,
  headerOf,
  seeded,
  writeCheckpoint,
} from "./support/seeded_checkpoint.ts";

/** The checkpoint of a configuration in a temporary folder, for the time of `use`. */
async function withCheckpoint<T>(
  config: Case["config"],
  options: CheckpointOptions,
  use: (folder: string) => Promise<T>,
): Promise<T> {
  const parent = await Deno.makeTempDir();
  try {
    await writeCheckpoint(`${parent}/encoder`, config, options);
    return await use(`${parent}/encoder`);
  } finally {
    await Deno.remove(parent, { recursive: true });
  }
}

const roberta = cases.RoBERTa.config;
const bert = cases["BERT on pairs"].config;

/** Every weight of the encoder in `folder`. */
async function weightsIn(folder: string): Promise<Map<string, Weight>> {
  const { weights } = await loadEncoder(folder);
  return new Map([...weights].map(([name, { shape, data }]) => [name, { shape, data }]));
}

Deno.test("every layout of a checkpoint loads to the same weights: bare, prefixed, sharded, older names, F16, BF16", async () => {
  const expected = await withCheckpoint(bert, {}, weightsIn);
  for (const [name, { shape, data }] of expected) assert.deepEqual(data, seeded(name, shape));
  const bare = (name: string) => name.replace("bert.", "");
  const older = (name: string) =>
    name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
  const multilingual = { ...roberta, model_type: "xlm-roberta" };
  assert.deepEqual(
    await withCheckpoint(multilingual, {}, weightsIn),
    await withCheckpoint(roberta, {}, weightsIn),
  );
  for (const options of [{ rename: bare }, { rename: older }, { shards: 3 }, { shards: 2, rename: bare }]) {
    assert.deepEqual(await withCheckpoint(bert, options, weightsIn), expected);
  }
  for (const dtype of ["F16", "BF16"] as const) {
    const rounded = await withCheckpoint(bert, { dtype }, weightsIn);
    assert.deepEqual([...rounded.keys()], [...expected.keys()]);
    for (const [name, { data }] of rounded) {
      const close = (value: number) =>
        dtype === "F16" ? Math.fround(Math.f16round(value)) : toBfloat16(value);
      assert.deepEqual(data, expected.get(name)!.data.map(close), `${dtype} ${name}`);
    }
  }
});

/** The nearest value of eight significant bits, ties to even. */
function toBfloat16(value: number): number {
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(value))) - 7);
  const [below, rest] = [Math.floor(value / unit), value / unit - Math.floor(value / unit)];
  return (rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below) * unit;
}

const table = "roberta.embeddings.word_embeddings.weight";

/** Gives the checkpoint in `folder` a table of `rows` rows, of which `used` are its first ones and the others a hole in a file. */
async function widenTable(folder: string, rows: number, used: readonly number[]): Promise<void> {
  const values = seeded(table, [60, 32]);
  const header = headerOf([{ name: table, shape: [rows, 32] }], "F32");
  using file = await Deno.create(`${folder}/table.safetensors`);
  await file.write(header);
  for (const [i, row] of used.entries()) {
    await file.seek(header.length + row * 128, Deno.SeekMode.Start);
    await file.write(bytesIn("F32", values.slice(i * 32, (i + 1) * 32)));
  }
  await file.truncate(header.length + rows * 128);
  const weight_map = Object.fromEntries([
    ...(await loadEncoder(folder)).weights.keys().map((name) => [name, "rest.safetensors"]),
    [table, "table.safetensors"],
  ]);
  await Deno.rename(`${folder}/model.safetensors`, `${folder}/rest.safetensors`);
  await Deno.writeTextFile(`${folder}/model.safetensors.index.json`, JSON.stringify({ weight_map }));
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify({ ...roberta, vocab_size: rows }));
}

/** The trunk's output for one text, with every token counted. */
async function vectorOf(model: Model, ids: readonly number[]): Promise<Float32Array> {
  const gpu = await testGpu();
  const graph = new Graph();
  const tokens = tokenInputs(graph, 1, ids.length);
  const own = tracer(graph, model, attach(model, headOnly, { target: "all-linear" }), tokens);
  const vector = vectorsOf(model, own, model.trace(own, tokens), tokens);
  using frozen = FrozenWeights.of(gpu, model);
  using compiled = await compile(gpu, [vector], { label: "vector", weights: (name) => frozen.view(name)! });
  compiled.upload({
    ids: Uint32Array.from(ids),
    lengths: Uint32Array.of(ids.length),
    places: Uint32Array.from(ids, (_, t) => 2 + t),
    types: new Uint32Array(ids.length),
  });
  compiled.run();
  return await compiled.read(vector);
}

Deno.test("a table too large for a binding lies in several, and rows are found at the ends of each", () =>
  withCheckpoint(roberta, {}, async (folder) => {
    const expected = await vectorOf(await loadEncoder(folder), [0, 1, 2, 3]);
    const [rows, middle] = [1_100_000, 550_000];
    const used = [0, middle - 1, middle, rows - 1];
    await widenTable(folder, rows, used);
    const model = await loadEncoder(folder);
    const parts = [...model.weights.keys()].filter((name) => name.startsWith(table));
    assert.deepEqual(parts, [`${table}[0:${middle}]`, `${table}[${middle}:${rows}]`]);
    assert.deepEqual(await vectorOf(model, used), expected);
    assert.throws(
      () => attach(model, lora, { target: ["query"], modulesToSave: ["word_embeddings"] }),
      /"word_embeddings" has a table too large for one binding, which is kept in parts/,
    );
  }));

Deno.test("tables are cut into as few parts as 128 MiB allow", () => {
  const counts = (rows: number, n: number) => tableParts("t", [rows, n]).map(({ from, to }) => to - from);
  assert.deepEqual(counts(50265, 768), [25133, 25132]);
  assert.deepEqual(counts(30522, 768), [30522]);
  assert.deepEqual(counts(2 ** 15, 1024), [2 ** 15]);
  assert.equal(counts(250002, 1024).length, 8);
  assert.equal(counts(250002, 1024).reduce((a, b) => a + b), 250002);
});

Deno.test("an adapter's folder has PEFT's names, its own and the head's, and loads again", () =>
  withCheckpoint(roberta, {}, async (folder) => {
    using trainer = await trainerFor(folder, cases.RoBERTa);
    const model = await loadEncoder(folder);
    const adapter = attach(model, lora, loraOptions);
    const weights = await trainer.weights();
    await saveAdapter(`${folder}/adapter`, model, adapter, weights);
    const { tensors } = await readSafetensors(`${folder}/adapter/adapter_model.safetensors`);
    const layers = [0, 1].flatMap((i) =>
      ["query", "value"].flatMap((name) =>
        ["A", "B"].map((part) => `roberta.encoder.layer.${i}.attention.self.${name}.lora_${part}.weight`)
      )
    );
    const head = ["dense", "out_proj"].flatMap((name) =>
      ["bias", "weight"].map((part) => `classifier.${name}.${part}`)
    );
    assert.deepEqual([...tensors.keys()], [...head, ...layers].map((name) => `base_model.model.${name}`));
    const config = JSON.parse(await Deno.readTextFile(`${folder}/adapter/adapter_config.json`));
    assert.deepEqual(config.modules_to_save, ["classifier"]);
    assert.deepEqual(config.target_modules, ["query", "value"]);
    assert.equal(config.base_model_name_or_path, "encoder");
    const loaded = await loadAdapter(`${folder}/adapter`, model);
    assert.deepEqual(loaded.weights.keys().toArray().toSorted(), weights.keys().toArray().toSorted());
    for (const [name, { data }] of loaded.weights) assert.deepEqual(data, weights.get(name)!.data);
    // What PEFT itself writes for a sequence classifier whose base it loaded from a path.
    const peftsOwn = {
      ...config,
      base_model_name_or_path: "/elsewhere/encoder/",
      task_type: "SEQ_CLS",
      modules_to_save: ["classifier", "score"],
    };
    await Deno.writeTextFile(`${folder}/adapter/adapter_config.json`, JSON.stringify(peftsOwn));
    using adapted = new AdaptedModel(await testGpu(), model);
    await adapted.load("saved", `${folder}/adapter`);
    const texts = encoded(cases.RoBERTa.examples);
    const shape = classification.of(model, { texts: 1, classes: 3 });
    const scores = (await adapted.predict(shape, texts)).flatMap((row) => [...row]);
    assert.ok(relativeError(scores, cases.RoBERTa.logits) <= 1e-4);
    adapted.disable();
    assert.ok(relativeError((await adapted.predict(shape, texts)).flatMap((row) => [...row]), scores) > 1e-3);
  }));

Deno.test("modules are chosen by the names that PEFT's users give", () =>
  withCheckpoint(roberta, {}, async (folder) => {
    const model = await loadEncoder(folder);
    const paths = (target: string[], layers?: number[]) =>
      attach(model, lora, { target, layers }).modules.map(({ module }) => module.path);
    const at = (...names: string[]) => names.map((name) => `roberta.encoder.layer.1.${name}`);
    assert.deepEqual(paths(["key"], [1]), at("attention.self.key"));
    assert.deepEqual(paths(["attention.output.dense", "intermediate.dense"], [1]), [
      ...at("attention.output.dense"),
      ...at("intermediate.dense"),
    ]);
    assert.deepEqual(paths(["output.dense"], [1]), at("attention.output.dense", "output.dense"));
    assert.equal(paths(["dense"]).length, 6);
    const saved = attach(model, lora, { target: ["query"], modulesToSave: ["embeddings.LayerNorm"] });
    assert.deepEqual([...saved.trainedBase].length, 2);
  }));

Deno.test("pairs and choices are one sequence each; single texts and pairs are cut to the task's and the model's limits", () =>
  withCheckpoint(bert, {}, async (folder) => {
    const model = await loadEncoder(folder);
    const task = { ...taskByName("wic"), maxTokens: 9 };
    const encode = (texts: string[]) => encodeExamples(model, task, [{ id: "x", texts, label: 0 }])[0];
    const [cls, sep, a, b, c] = [2, 3, 5, 6, 8];
    assert.deepEqual(encode(["a c"]), { label: 0, texts: [[cls, a, c, sep]] });
    assert.deepEqual(encode(["a ".repeat(30)]).texts, [[cls, ...Array(7).fill(a), sep]]);
    assert.deepEqual(encode(["a", "c b"]), {
      label: 0,
      texts: [[cls, a, sep, c, b, sep]],
      seconds: [3],
    });
    assert.deepEqual(encode(["a", "b", "", "c ".repeat(30)]), {
      label: 0,
      texts: [[cls, a, sep, b, sep], [cls, a, sep, sep], [cls, a, sep, ...Array(5).fill(c), sep]],
      seconds: [3, 3, 3],
    });
    assert.equal(model.tokenizer.encode("a ".repeat(99)).length, 16);
    assert.equal(model.pairing.encode(["a ".repeat(99), "b ".repeat(99)], 512)[0].ids.length, 16);
    const roundTrip = await withCheckpoint(
      roberta,
      { tokenizer: fewRobertaWords },
      async (folder) =>
        encodeExamples(await loadEncoder(folder), task, [{
          id: "x",
          texts: ["a", "b"],
          label: 0,
        }]),
    );
    assert.deepEqual(roundTrip, [{ label: 0, texts: [[0, 4, 2, 2, 5, 2]], seconds: [undefined] }]);
  }));

const fewRobertaWords = {
  "vocab.json": JSON.stringify({ "<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, a: 4, b: 5, "<mask>": 6 }),
  "merges.txt": "#version: 0.2\n",
};

Deno.test("a sequence longer than the table of positions is refused", () =>
  withCheckpoint(roberta, {}, async (folder) => {
    const examples = [{ texts: [new Array<number>(39).fill(3)], label: 0 }];
    await assert.rejects(
      () => trainerFor(folder, { ...cases.RoBERTa, examples }),
      /example 0 has 39 tokens; encoder has positions for 38/,
    );
  }));

Deno.test("full fine-tuning trains all three tables", () =>
  withCheckpoint(bert, {}, async (folder) => {
    const model = await loadEncoder(folder);
    const { outputs, examples } = cases["BERT on pairs"];
    const objective = classification.of(model, { texts: 2, classes: outputs });
    const options = { learningRate: 1e-2, epochs: 1, batchSize: 3, warmupRatio: 0, seed: 0 };
    const adapter = attach(model, full, { target: "all-linear" });
    using trainer = new Trainer({
      gpu: await testGpu(),
      model,
      adapter,
      objective,
      examples: encoded(examples),
      ...options,
    });
    await trainer.epoch();
    const moved = (name: string, values: Float32Array) => {
      const before = model.weights.get(`bert.embeddings.${name}.weight`)!.data;
      return [
        ...new Set(values.keys().filter((i) => values[i] !== before[i]).map((i) => Math.floor(i / 32))),
      ];
    };
    const trained = await trainer.weights();
    const rows = (name: string) => moved(name, trained.get(`bert.embeddings.${name}.weight`)!.data);
    const ids = new Set(examples.flatMap(({ texts }) => texts.flat()));
    assert.deepEqual(rows("word_embeddings").toSorted((a, b) => a - b), [...ids].toSorted((a, b) => a - b));
    assert.deepEqual(rows("position_embeddings"), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert.deepEqual(rows("token_type_embeddings"), [0, 1]);
  }));

/** Rejects loading RoBERTa's checkpoint as `spoil` leaves it. */
function refused(spoil: (folder: string) => Promise<void>, message: RegExp): Promise<void> {
  return withCheckpoint(roberta, {}, async (folder) => {
    await spoil(folder);
    await assert.rejects(() => loadEncoder(folder), message);
  });
}

Deno.test("a position_embedding_type of null is none at all, as to transformers", () =>
  withCheckpoint({ ...roberta, position_embedding_type: null }, {}, async (folder) => {
    assert.ok((await loadEncoder(folder)).weights.size > 0);
  }));

Deno.test("a configuration that does not fit is refused by field", async () => {
  const changes: [Record<string, unknown>, RegExp][] = [
    [
      // The fields of other types have other names, such as n_embd.
      { model_type: "gpt2", hidden_size: undefined },
      /config\.json: model_type is "gpt2": use a model with one of roberta, xlm-roberta, bert/,
    ],
    [{ model_type: undefined }, /config\.json: model_type: /],
    [{ hidden_act: "gelu_new" }, /hidden_act is "gelu_new": use a model with one of gelu, gelu_python, relu/],
    [{ hidden_size: -8 }, /config\.json: hidden_size: /],
    [{ hidden_size: "32" }, /config\.json: hidden_size: /],
    [
      { num_attention_heads: 5 },
      /num_attention_heads is 5: it must cut hidden_size 32 into heads of a multiple of 4/,
    ],
    [{ num_attention_heads: 16 }, /num_attention_heads is 16: it must cut/],
    [{ position_embedding_type: "relative_key" }, /position_embedding_type is "relative_key"/],
    [{ is_decoder: true }, /is_decoder is true: use an encoder/],
    [
      { is_decoder: null },
      /config\.json: is_decoder: .* boolean but received null: leave it out or give it a value/,
    ],
    [{ max_position_embeddings: 2 }, /max_position_embeddings is 2: positions begin at 2/],
    [
      { num_hidden_layers: 3 },
      /lacks 16 tensors of this roberta model, such as "roberta\.encoder\.layer\.2\.attention\.self\.query\.weight"/,
    ],
    [{ num_hidden_layers: 1 }, /has "encoder\.layer\.1\.[\w.]+", and num_hidden_layers in config\.json is 1/],
    [
      { intermediate_size: 64 },
      /model\.safetensors: "roberta\.encoder\.layer\.0\.intermediate\.dense\.weight" is \[48,32\], and config\.json makes it \[64,32\]/,
    ],
    [
      { vocab_size: 59 },
      /"roberta\.embeddings\.word_embeddings\.weight" is \[60,32\], and config\.json makes it \[59,32\]/,
    ],
    [
      { model_type: "bert", type_vocab_size: 1 },
      /lacks 39 tensors of this bert model, such as "bert\.embeddings\.word_embeddings\.weight": the names in the file begin with "roberta\." rather than "bert\.": config\.json is of another model/,
    ],
  ];
  for (const [change, message] of changes) {
    const write = (folder: string) =>
      Deno.writeTextFile(`${folder}/config.json`, JSON.stringify({ ...roberta, ...change }));
    await refused(write, message);
  }
  await refused(
    (folder) => Deno.writeTextFile(`${folder}/config.json`, "{"),
    /config\.json is not JSON, or is cut short/,
  );
  await refused((folder) => Deno.remove(`${folder}/config.json`), /config\.json/);
});

Deno.test("a checkpoint that is not whole is refused by file and tensor", async () => {
  const weights = "model.safetensors";
  await refused(
    (folder) => Deno.truncate(`${folder}/${weights}`, 20_000),
    /model\.safetensors: tensor ".*" claims bytes .*: the file is truncated/,
  );
  await refused(
    (folder) => Deno.truncate(`${folder}/${weights}`, 5),
    /model\.safetensors: 5 bytes are no safetensors file/,
  );
  await refused(
    (folder) => Deno.truncate(`${folder}/${weights}`, 100),
    /its header has \d+ bytes, and 92 follow: the file is truncated/,
  );
  await refused(
    (folder) => Deno.remove(`${folder}/${weights}`),
    /holds neither model\.safetensors nor model\.safetensors\.index\.json/,
  );
  await refused((folder) => Deno.remove(`${folder}/vocab.txt`), /holds no tokenizer/);
  await refused(
    (folder) =>
      Deno.writeTextFile(`${folder}/vocab.txt`, `[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n${"w\n".repeat(55)}x`),
    /its tokenizer has a token 60, and vocab_size in config\.json is 60/,
  );
  const shard = "model-00002-of-00002.safetensors";
  const sharded = (spoil: (folder: string) => Promise<void>, message: RegExp) =>
    withCheckpoint(roberta, { shards: 2 }, async (folder) => {
      await spoil(folder);
      await assert.rejects(() => loadEncoder(folder), message);
    });
  await sharded(
    (folder) => Deno.remove(`${folder}/${shard}`),
    /index\.json names model-00002-of-00002\.safetensors, and there is no such file/,
  );
  await sharded(
    (folder) => Deno.copyFile(`${folder}/model-00001-of-00002.safetensors`, `${folder}/${shard}`),
    /index\.json says that "[\w.]+" is in model-00002-of-00002\.safetensors, and it is not/,
  );
  const index = (map: object) => (folder: string) =>
    Deno.writeTextFile(`${folder}/model.safetensors.index.json`, JSON.stringify({ weight_map: map }));
  await sharded(index({ a: "../config.json" }), /index\.json: weight_map\.a: /);
  await sharded(index({}), /lacks 37 tensors/);
});

Deno.test("names that begin otherwise than the model's are refused with how they begin, and two of one meaning", async () => {
  const rejected = (rename: (name: string) => string, message: RegExp) =>
    withCheckpoint(roberta, { rename }, (folder) => assert.rejects(() => loadEncoder(folder), message));
  const parallel =
    /lacks 37 tensors of .*: the names in the file begin with "module\.(roberta\.)?" rather than "roberta\.": it was saved from inside DataParallel; save model\.module/;
  await rejected((name) => `module.${name}`, parallel);
  await rejected((name) => name.replace("roberta", "module"), parallel);
  await rejected(
    (name) => `base_model.model.${name}`,
    /the names in the file begin with "base_model\.model\.roberta\." rather than "roberta\.": .*save it by itself/,
  );
  const gamma = { name: "roberta.embeddings.LayerNorm.gamma", shape: [32] };
  await withCheckpoint(roberta, { extra: [gamma] }, (folder) =>
    assert.rejects(
      () => loadEncoder(folder),
      /model\.safetensors: "roberta\.embeddings\.LayerNorm\.weight" and "roberta\.embeddings\.LayerNorm\.gamma" are both "embeddings\.LayerNorm\.weight": take one/,
    ));
});

Deno.test("heads, a pooler and buffers beside a RoBERTa's trunk are passed over", () =>
  withCheckpoint(roberta, {
    extra: [
      { name: "lm_head.layer_norm.weight", shape: [32] },
      { name: "classifier.out_proj.weight", shape: [3, 32] },
      { name: "roberta.pooler.dense.weight", shape: [32, 32] },
      { name: "roberta.embeddings.position_ids", shape: [1, 40] },
    ],
  }, async (folder) => {
    const expected = await withCheckpoint(roberta, {}, weightsIn);
    assert.deepEqual(await weightsIn(folder), expected);
  }));

Deno.test("whole numbers are no weights, and a file cut short after loading is noticed when a weight is read", async () => {
  const bias = "roberta.embeddings.LayerNorm.bias";
  await refused(async (folder) => {
    const path = `${folder}/model.safetensors`;
    const text = new TextDecoder("latin1").decode(await Deno.readFile(path));
    const bytes = Uint8Array.from(
      text.replace(`"${bias}":{"dtype":"F32"`, `"${bias}":{"dtype":"I32"`),
      (char) => char.charCodeAt(0),
    );
    await Deno.writeFile(path, bytes);
  }, /model\.safetensors: "roberta\.embeddings\.LayerNorm\.bias" is I32: save it as F32, F16 or BF16/);
  await withCheckpoint(roberta, {}, async (folder) => {
    const { weights } = await loadEncoder(folder);
    await Deno.truncate(`${folder}/model.safetensors`, 9000);
    assert.throws(
      () => [...weights.values()].map(({ data }) => data),
      /model\.safetensors: ends inside tensor "roberta\.[\w.]+"/,
    );
  });
});
