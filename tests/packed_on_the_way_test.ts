/** Decoders whose weights are packed on their way to the GPU: the values, tables in parts, and what is refused. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { headOnly } from "../lib/adapters/base_only.ts";
import { tracer } from "../lib/adapters/trace.ts";
import { Graph } from "../lib/graph/graph.ts";
import { packings, type WritablePacking } from "../lib/graph/storages/registry.ts";
import { fingerprintsOf } from "../lib/models/fingerprint.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import { loadModel } from "../lib/models/load_model.ts";
import { type Model, scalesOf, type Weight } from "../lib/models/model.ts";
import { PackedOnTheWay } from "../lib/models/packed_on_the_way.ts";
import { pack, unpack } from "../lib/models/packing.ts";
import { StoredWeight, tableParts, type WeightInPieces } from "../lib/models/stored_weight.ts";
import { digestOfValues, PassingDigest } from "../lib/models/values_digest.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { tokenInputs } from "../lib/run/step.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import { logitsOf } from "./support/decoder_logits.ts";
import { cases, rows, writeDecoder } from "./support/decoder_reference.ts";
import { runTask } from "./support/command.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";
import { randomWeight } from "./support/packed_weights.ts";
import { writeCheckpoint } from "./support/seeded_checkpoint.ts";

/** A weight that is read in two pieces, and how often. */
function inTwoPieces({ shape, data }: Weight, cut: number) {
  const weight = {
    shape,
    data,
    bytes: data.byteLength,
    reads: 0,
    *pieces() {
      weight.reads++;
      yield data.subarray(0, cut);
      yield data.subarray(cut);
    },
  };
  return weight satisfies WeightInPieces;
}

for (const packing of packings) {
  Deno.test(`${packing}: a weight that is packed piece by piece has the words and scales of one packed at once`, () => {
    const weight = randomWeight([64, 96]);
    const whole = pack("W", weight, packing);
    const packed = new PackedOnTheWay("W", inTwoPieces(weight, 17 * 64), packing);
    assert.deepEqual(packed.words, whole.words);
    assert.deepEqual(packed.scales, whole.scales);
    assert.deepEqual(packed.origin, whole.origin);
  });
}

Deno.test("pieces of words and of scales follow one another on the GPU", async () => {
  const gpu = await testGpu();
  const weight = randomWeight([64, 96]);
  for (const packing of ["int8", "q8_0"] as const) {
    const whole = pack("W", weight, packing);
    const packed = new Map([["W", new PackedOnTheWay("W", inTwoPieces(weight, 17 * 64), packing)]]);
    using frozen = new FrozenWeights(gpu, [], new Map(), packed);
    const read = async (name: string) => {
      const { buffer, bytes } = frozen.view(name)!;
      return await gpu.read(buffer, bytes);
    };
    assert.deepEqual(new Uint32Array(await read("W")), whole.words);
    if (whole.scales) assert.deepEqual(new Float32Array(await read(scalesOf("W"))), whole.scales);
  }
});

for (const name of ["LLaMA 3.1", "Qwen3", "Gemma"]) {
  for (const packing of ["f16", "int8", "int4"] as const) {
    Deno.test(`${name} as ${packing}: the logits are those of the values that it stands for`, () =>
      withFolder(async (folder) => {
        await writeDecoder(`${folder}/model`, cases[name]);
        const model = await loadDecoder(`${folder}/model`, { packing });
        const packed = [...model.packed!];
        const matrices = Object.entries(cases[name].tensors).filter(([, { shape }]) => shape.length === 2);
        assert.deepEqual(packed.map(([own]) => own).toSorted(), matrices.map(([own]) => own).toSorted());
        const table = model.packed!.get("model.embed_tokens.weight")!;
        assert.equal(table.packing, packing === "int4" ? "int8" : packing);
        const values = packed.map(([own, weight]): [string, Weight] => [own, unpack(weight)]);
        const dense = { ...model, packed: undefined, weights: new Map([...model.weights, ...values]) };
        const gpu = await testGpu();
        const ids = rows.map((row) => row.ids);
        const [ours, theirs] = [await logitsOf(gpu, model, ids), await logitsOf(gpu, dense, ids)];
        ours.forEach((logits, i) => assert.ok(relativeError(logits, theirs[i]) < 1e-5, `row ${i}`));
      }));
  }
}

Deno.test("fingerprints are those of the values before packing, and tracing reads nothing", () =>
  withFolder(async (folder) => {
    await writeDecoder(`${folder}/model`, cases["LLaMA 2"]);
    const model = await loadDecoder(`${folder}/model`, { packing: "int8" });
    const found = fingerprintsOf(model);
    for (const [name, { sha256, shape }] of Object.entries(cases["LLaMA 2"].tensors)) {
      const packing = shape.length === 2 ? { packing: "int8" } : {};
      assert.deepEqual(found.get(name), { sha256, dtype: "F32", ...packing }, name);
    }
    await Deno.remove(`${folder}/model/model.safetensors`);
    const graph = new Graph();
    const tokens = tokenInputs(graph, 1, 4);
    model.trace(tracer(graph, model, attach(model, headOnly, { target: "all-linear" }), tokens), tokens);
    assert.throws(() => model.packed!.get("lm_head.weight")!.words, /model\.safetensors/);
  }));

Deno.test("a packed table in parts has one fingerprint, the whole table's", async () => {
  const table = randomWeight([128, 64]);
  const path = await Deno.makeTempFile();
  await Deno.writeFile(path, new Uint8Array(table.data.buffer));
  const place = { name: "t", origin: path, dtype: "F32", begin: 0, end: 4 * 128 * 64, ...table } as const;
  const digest = new PassingDigest(128 * 64);
  const part = (from: number, to: number): [string, PackedOnTheWay] => {
    const name = `t[${from}:${to}]`;
    return [name, new PackedOnTheWay(name, new StoredWeight(place, [from, to], digest), "int8")];
  };
  const model = { ...tinyEncoder(), weights: new Map(), packed: new Map([part(0, 64), part(64, 128)]) };
  const sha256 = digestOfValues(table.data);
  assert.deepEqual([...fingerprintsOf(model)], [["t", { sha256, dtype: "F32", packing: "int8" }]]);
  assert.deepEqual(
    part(64, 128)[1].words,
    pack("t", { shape: [64, 64], data: table.data.slice(4096) }, "int8").words,
  );
  await Deno.remove(path);
});

Deno.test("packed tables are cut at multiples of 64 rows, into as many parts as 128 MiB bindings need", () => {
  const limit = 128 * 2 ** 20;
  for (
    const [table, bits, count] of [
      [[128256, 4096], 8, 4],
      [[256000, 3072], 8, 6],
      [[152064, 5120], 16, 12],
      [[32764, 4096], 4, 1],
      // 32,736 rows fit, and cuts are rounded to 32,704 and 65,472.
      [[98200, 4100], 8, 3],
    ] as const
  ) {
    const parts = tableParts("t", table, { bits, rowsAtOnce: 64 });
    assert.ok(parts.length === count || parts.length === count + 1, `${table}: ${parts.length}`);
    assert.deepEqual(parts.map(({ from }) => from), [0, ...parts.map(({ to }) => to)].slice(0, -1));
    assert.equal(parts.at(-1)!.to, table[0]);
    for (const { from, to } of parts) {
      assert.equal(from % 64, 0);
      assert.ok((to - from) * table[1] * bits / 8 <= limit, `${from}:${to}`);
    }
  }
});

Deno.test("what cannot be packed is refused by name; a table of such a shape stays dense", () =>
  withFolder(async (folder) => {
    await writeDecoder(`${folder}/model`, cases["LLaMA 2"]);
    await assert.rejects(
      () => loadDecoder(`${folder}/model`, { packing: "q4_0" }),
      /"model\.layers\.0\.self_attn\.q_proj\.weight" is \[48,48\]: wants rows of 32 values at a time/,
    );
    await assert.rejects(
      () => loadDecoder(`${folder}/model`, { packing: "q4_k" as WritablePacking }),
      /weights cannot be packed into q4_k; use one of f16/,
    );
    const odd = { ...cases["LLaMA 2"].config, vocab_size: 98 };
    const tensors = Object.fromEntries(
      Object.entries(cases["LLaMA 2"].tensors).map(([name, own]) => [
        name,
        own.shape[0] === 96 ? { ...own, shape: [98, 48] } : own,
      ]),
    );
    await writeDecoder(`${folder}/odd`, { ...cases["LLaMA 2"], config: odd, tensors });
    const model = await loadDecoder(`${folder}/odd`, { packing: "int8" });
    assert.ok(model.weights.has("lm_head.weight") && model.packed!.has("model.layers.0.mlp.up_proj.weight"));
    assert.ok((await logitsOf(await testGpu(), model, [[1, 5, 9]]))[0].every(Number.isFinite));
    const file = new URL("fixtures/gguf_files/llama.gguf", import.meta.url).pathname;
    await assert.rejects(
      () => loadDecoder(file, { packing: "int8" }),
      /llama\.gguf: its matrices are packed already/,
    );
  }));

Deno.test("an encoder's layers are packed as packModel does it", () =>
  withFolder(async (folder) => {
    await writeCheckpoint(folder, {
      model_type: "bert",
      hidden_size: 32,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      intermediate_size: 64,
      hidden_act: "gelu",
      layer_norm_eps: 1e-12,
      vocab_size: 40,
      max_position_embeddings: 16,
      type_vocab_size: 2,
      pad_token_id: 0,
    });
    const [model, plain]: Model[] = [await loadModel(folder, { packing: "int8" }), await loadModel(folder)];
    const name = `${plain.linears[0].path}.weight`;
    assert.deepEqual(model.packed!.get(name), pack(name, plain.weights.get(name)!, "int8"));
  }));

Deno.test("--packing: an adapter is trained on a packed decoder, and written with on the same", () =>
  withFolder(async (folder) => {
    const model = `${folder}/model`;
    await writeDecoder(model, cases["LLaMA 3.1"]);
    const texts = Array.from({ length: 12 }, (_, i) => JSON.stringify({ text: "ab".repeat(1 + i % 4) }));
    await Deno.writeTextFile(`${folder}/train.jsonl`, texts.join("\n"));
    const shared = ["--model", model, "--packing", "int8"];
    const training = ["--train", `${folder}/train.jsonl`, "--loss", "all", "--epochs", "1", "--r", "2"];
    const out = `${folder}/adapter`;
    const trained = await runTask("finetune", [...shared, ...training, "--out", out]);
    assert.equal(trained.code, 0, trained.stderr);
    const write = ["--adapter", out, "--prompt", "ab", "--max-tokens", "2"];
    const same = await runTask("generate", [...shared, ...write]);
    assert.deepEqual([same.code, same.stderr], [0, ""]);
    const other = await runTask("generate", ["--model", model, ...write]);
    assert.match(other.stderr, /F32 packed as int8/);
    for (const command of ["finetune", "generate"]) {
      const { code, stderr } = await runTask(command, [
        ...["--model", model, "--packing", "q4_k"],
        ...command === "finetune" ? [...training, "--out", `${folder}/none`] : write,
      ]);
      assert.deepEqual([code, /--packing wants one of f16, bf16, int8, .*, not "q4_k"/.test(stderr)], [
        2,
        true,
      ]);
    }
  }));
