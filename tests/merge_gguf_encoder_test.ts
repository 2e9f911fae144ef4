/** Encoders with an adapter merged in, as GGUF: against the package gguf, and against the merged folder. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { lora } from "../lib/adapters/lora.ts";
import { saveAdapter } from "../lib/adapters/peft.ts";
import { startingWeights } from "../lib/adapters/starting_weights.ts";
import { clsNames, encoderGgufName } from "../lib/models/gguf/encoder_names.ts";
import { type GgufPlace, readGgufHeader } from "../lib/models/gguf/header.ts";
import type { GgufValue } from "../lib/models/gguf/metadata.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import { mergedKey } from "../lib/models/merged_adapters.ts";
import { headPathsOf, type Model, type Weight } from "../lib/models/model.ts";
import { pack, unpack } from "../lib/models/packing.ts";
import { readSafetensors, toFloat32 } from "../lib/models/safetensors.ts";
import { StoredWeight } from "../lib/models/stored_weight.ts";
import { saveMerged } from "../lib/train/merge_folder.ts";
import { saveMergedGguf } from "../lib/train/merge_gguf.ts";
import type { GgufType } from "../lib/train/merged_gguf_file.ts";
import fixture from "./fixtures/gguf_encoders.json" with { type: "json" };
import hard from "./fixtures/hard_texts_reference.json" with { type: "json" };
import { runTask } from "./support/command.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";
import { poolingJson, writePooling } from "./support/pooled_folder.ts";
import { type CheckpointOptions, seeded, writeCheckpoint } from "./support/seeded_checkpoint.ts";

/** An encoder as the package gguf writes it. */
interface Case {
  readonly config: Readonly<Record<string, unknown>>;
  readonly files: Readonly<Record<string, string>>;
  /** What its folder says of pooling, if it does. */
  readonly mode: string | null;
  readonly f16: Written;
  readonly q8_0: Written;
}

interface Written {
  readonly metadata: Readonly<Record<string, { readonly type: readonly string[]; readonly value: unknown }>>;
  /** Type, shape, and SHA-256 of the bytes. */
  readonly tensors: Readonly<Record<string, readonly [string, readonly number[], string]>>;
}

const cases = fixture.cases as unknown as Readonly<Record<string, Case>>;
const bertWithHead = cases["BERT with its pooler and a head"];
const types = ["f16", "q8_0"] as const;

interface Paths {
  readonly folder: string;
  readonly adapter: string;
  readonly out: string;
}

/** A case's checkpoint. */
async function writeCase(
  folder: string,
  { config, files, mode }: Pick<Case, "config" | "files" | "mode">,
  options: CheckpointOptions = {},
): Promise<Model> {
  await writeCheckpoint(folder, config, { tokenizer: files, ...options });
  if (mode) await writePooling(folder, poolingJson(mode));
  return await loadEncoder(folder, {}, () => {});
}

/** A head with three outputs, its values drawn from its tensors' names. */
function headOf({ head, width }: Model): Map<string, Weight> {
  return new Map(
    headPathsOf(head).flatMap((path) => {
      const m = path === head.projection ? 3 : width;
      return ([[`${path}.weight`, [m, width]], [`${path}.bias`, [m]]] as const).map((
        [name, shape],
      ): [string, Weight] => [name, { shape, data: seeded(name, shape) }]);
    }),
  );
}

/** A case's checkpoint with an adapter on it. */
function withAdapter(
  expected: Pick<Case, "config" | "files" | "mode">,
  body: (paths: Paths, model: Model) => Promise<void>,
  { target = ["query"], moves = true, head = true, ...options }:
    & CheckpointOptions
    & { target?: string[]; moves?: boolean; head?: boolean } = {},
): Promise<void> {
  return withFolder(async (at) => {
    const paths = { folder: `${at}/folder`, adapter: `${at}/adapter`, out: `${at}/out` };
    const model = await writeCase(paths.folder, expected, options);
    const adapter = attach(model, moves ? bora : lora, { r: 2, target, ...moves ? { blocks: 4 } : {} });
    const started = [...startingWeights(model, adapter, 0)];
    const weights = started.map(([name, { shape, data }]): [string, Weight] => [
      name,
      { shape, data: moves ? data.map((value, i) => value + 0.05 * Math.sin(i + name.length)) : data },
    ]);
    await saveAdapter(paths.adapter, model, adapter, new Map([...weights, ...head ? headOf(model) : []]));
    await body(paths, model);
  });
}

async function merge({ folder, adapter, out }: Paths, type: GgufType): Promise<string[]> {
  const reports: string[] = [];
  const report = (line: string) => void reports.push(line);
  await saveMergedGguf({ gpu: await testGpu(), model: folder, adapter, out, type, report });
  return reports;
}

/** As the fixture has it. */
function plain({ type, value }: GgufValue): { type: string[]; value: unknown } {
  if (typeof value !== "object") return { type: [type], value };
  const item = ArrayBuffer.isView(value)
    ? value.constructor.name.replace("Array", "").toLowerCase()
    : "string";
  return { type: [type, item], value: Array.from(value as Iterable<unknown>) };
}

function bytesOf({ origin, begin, end }: GgufPlace): Uint8Array {
  return Deno.readFileSync(origin).subarray(begin, end);
}

for (const [name, expected] of Object.entries(cases)) {
  for (const type of types) {
    Deno.test(`${name}: the GGUF in ${type} has the package's names, metadata and bytes`, () =>
      withAdapter(expected, async (paths) => {
        await merge(paths, type);
        const { metadata, places } = await readGgufHeader(`${paths.out}/model.gguf`);
        const own = Object.fromEntries([...metadata.values].map(([key, value]) => [key, plain(value)]));
        assert.match(String(own[mergedKey].value), /^\[{"adapter":"[0-9a-f]{64}","base":"[0-9a-f]{64}"}\]$/);
        delete own[mergedKey];
        assert.deepEqual(own, expected[type].metadata);
        const tensors = [...places.values()].map((place) => [
          place.name,
          [place.dtype, place.shape, createHash("sha256").update(bytesOf(place)).digest("hex")],
        ]);
        assert.deepEqual(Object.fromEntries(tensors), expected[type].tensors);
      }, { moves: false }));
  }
}

/** The name in GGUF of a tensor of the merged folder. */
function nameOf(model: Model, name: string): string {
  const { trunk, pooler, head } = model;
  const [, path, kind] = /^(.*)\.(weight|bias)$/.exec(name)!;
  if (path === head.projection) return `${clsNames.projection}.${kind}`;
  if (path === head.dense || path === pooler) return `${clsNames.dense}.${kind}`;
  return encoderGgufName(name.slice(trunk!.length + 1));
}

/** The values that writing a tensor called `name` in `type` makes. */
function rounded(name: string, weight: Weight, type: GgufType): Float32Array {
  const { shape: [, columns], data } = weight;
  if (columns === undefined || /^(position_embd|token_types)\./.test(name)) return data;
  if (type === "q8_0" && columns % 32 === 0) return unpack(pack(name, weight, "q8_0")).data;
  return Float32Array.from(Float16Array.from(data));
}

const unigram = hard.cases["XLM-R unigram, tokenizer.json"].files["tokenizer.json"];
const xlmFiles = (() => {
  const json = JSON.parse(unigram);
  const added_tokens = json.added_tokens.filter(({ special }: { special: boolean }) => special);
  return { "tokenizer.json": JSON.stringify({ ...json, added_tokens }) };
})();
const xlmRoberta = {
  config: { ...cases["RoBERTa with a head"].config, model_type: "xlm-roberta", vocab_size: 1120 },
  ...{ files: xlmFiles, mode: null },
};

const adapted = {
  "BERT with its pooler and a head": [bertWithHead, ["query", "output.dense", "pooler.dense"], true],
  "BERT, first token": [cases["BERT, first token, with a head"], ["query", "value"], true],
  "BERT, mean over tokens": [cases["BERT, mean over tokens"], ["intermediate.dense"], false],
  RoBERTa: [cases["RoBERTa with a head"], ["query", "dense"], true],
  "XLM-RoBERTa": [xlmRoberta, ["key"], true],
} as const;

for (const [name, [expected, target, hasHead]] of Object.entries(adapted)) {
  for (const type of types) {
    Deno.test(`${name} with BoRA: the merged GGUF in ${type} has the merged folder's values, rounded`, () =>
      withAdapter(expected, async (paths, model) => {
        await saveMerged(await testGpu(), paths.folder, paths.adapter, `${paths.out}-folder`);
        await merge(paths, type);
        const { tensors } = await readSafetensors(`${paths.out}-folder/model.safetensors`);
        const { places } = await readGgufHeader(`${paths.out}/model.gguf`);
        const first = model.trunk === "roberta" ? 2 : 0;
        const theirs = [...tensors].flatMap(([own, tensor]) => {
          if (!hasHead && /^(head|bert\.pooler)\./.test(own)) return [];
          // A pooler that its folder does not use.
          if (own.startsWith("bert.pooler.") && !model.pooler) return [];
          const gguf = nameOf(model, own);
          const [rows, ...row] = tensor.shape;
          const skipped = gguf === "position_embd.weight" ? first : 0;
          const data = toFloat32(tensor).subarray(skipped * (row[0] ?? 1));
          return [[gguf, { shape: [rows - skipped, ...row], data }] as const];
        });
        assert.deepEqual([...places.keys()].toSorted(), theirs.map(([gguf]) => gguf).toSorted());
        for (const [gguf, weight] of theirs) {
          const place = places.get(gguf)!;
          assert.deepEqual(place.shape, weight.shape, gguf);
          assert.deepEqual(new StoredWeight(place).data, rounded(gguf, weight, type), gguf);
        }
      }, { target: [...target] }));
  }
}

Deno.test("XLM-RoBERTa's pieces: their scores, the table of characters, and the marks", () =>
  withAdapter(xlmRoberta, async (paths) => {
    await merge(paths, "f16");
    const { metadata } = await readGgufHeader(`${paths.out}/model.gguf`);
    const { model, normalizer } = JSON.parse(unigram);
    const tokens = metadata.texts("tokenizer.ggml.tokens");
    const scores = metadata.numbers("tokenizer.ggml.scores");
    const kinds = metadata.numbers("tokenizer.ggml.token_type");
    for (const [id, [piece, score]] of model.vocab.entries()) {
      assert.deepEqual([tokens[id], scores[id]], [piece, Math.fround(score)]);
    }
    assert.deepEqual(tokens.slice(1117), ["<mask>", "[PAD1118]", "[PAD1119]"]);
    assert.deepEqual(scores.slice(1117), [-10_000, -10_000, -10_000]);
    assert.deepEqual([...kinds.slice(0, 5), ...kinds.slice(1117)], [3, 3, 3, 2, 1, 3, 5, 5]);
    const table = metadata.values.get("tokenizer.ggml.precompiled_charsmap")!.value as Uint8Array<
      ArrayBuffer
    >;
    assert.equal(table.toBase64(), normalizer.precompiled_charsmap);
    const of = (key: string) => metadata.values.get(`tokenizer.ggml.${key}`)?.value;
    assert.deepEqual(["model", "pre"].map(of), ["t5", "default"]);
    const marks = ["bos", "cls", "eos", "seperator", "unknown", "padding", "mask"];
    assert.deepEqual(marks.map((mark) => of(`${mark}_token_id`)), [0, 0, 2, 2, 3, 1, 1117]);
    const flags = ["add_bos_token", "add_eos_token", "add_sep_token", "add_space_prefix"];
    assert.deepEqual([...flags, "remove_extra_whitespaces"].map(of), [true, true, true, true, true]);
  }));

Deno.test("a pooler that the checkpoint lacks is the adapter's", () =>
  withAdapter(
    bertWithHead,
    async (paths, model) => {
      assert.deepEqual(model.fresh, ["bert.pooler.dense"]);
      await merge(paths, "f16");
      const { places } = await readGgufHeader(`${paths.out}/model.gguf`);
      const { tensors } = await readSafetensors(`${paths.adapter}/adapter_model.safetensors`);
      const [, pooler] = [...tensors].find(([name]) => name.endsWith("pooler.dense.weight"))!;
      const weight = { shape: [64, 64], data: toFloat32(pooler) };
      assert.deepEqual(
        new StoredWeight(places.get("cls.weight")!).data,
        rounded("cls.weight", weight, "f16"),
      );
    },
    { without: /pooler/ },
  ));

Deno.test("what llama.cpp gives otherwise is told: no head on a mean, and one type for both texts of a pair", async () => {
  const reports = new Map<string, string[]>();
  for (const [name, expected] of Object.entries(cases)) {
    await withAdapter(expected, async (paths) => {
      const lines = await merge(paths, "f16");
      reports.set(name, lines.map((line) => line.replace(/^.*?: /, "")));
    });
  }
  const pairs =
    "llama.cpp gives both texts of a pair token type 0: the head's outputs for pairs differ there";
  assert.deepEqual([...reports.values()], [
    [pairs],
    [pairs],
    [
      "its head is left out: llama.cpp has none on the mean of a text's tokens, and gives that vector; apply head.weight and head.bias to it",
    ],
    [],
  ]);
  const untyped = JSON.stringify({ model_input_names: ["input_ids", "attention_mask"] });
  const files = { ...bertWithHead.files, "tokenizer_config.json": untyped };
  await withAdapter({ ...bertWithHead, files }, async (paths) => {
    assert.deepEqual(await merge(paths, "f16"), [], "its tokenizer gives no types");
  });
});

Deno.test("without a head the file gives vectors; BERT's pooler has none without one", async () => {
  const pooling = async (name: string) => {
    let found: unknown;
    await withAdapter(cases[name], async (paths) => {
      assert.deepEqual(await merge(paths, "f16"), []);
      const { metadata, places } = await readGgufHeader(`${paths.out}/model.gguf`);
      assert.ok(![...places.keys()].some((tensor) => tensor.startsWith("cls")));
      assert.ok(!metadata.has("bert.classifier.output_labels"));
      found = metadata.number("bert.pooling_type");
    }, { head: false });
    return found;
  };
  assert.equal(await pooling("BERT, mean over tokens"), 1);
  assert.equal(await pooling("BERT, first token, with a head"), 2);
  assert.equal(await pooling("RoBERTa with a head"), 2);
  await withAdapter(bertWithHead, async (paths) => {
    await assert.rejects(
      merge(paths, "f16"),
      /adapter has no head, and llama\.cpp gives the output of BERT's/,
    );
    await assert.rejects(Deno.stat(paths.out));
  }, { head: false });
});

Deno.test("what llama.cpp computes otherwise is refused by its file and name", async () => {
  const refused = (expected: Pick<Case, "config" | "files" | "mode">, message: RegExp) =>
    withAdapter(expected, async (paths) => {
      await assert.rejects(merge(paths, "f16"), { message });
      await assert.rejects(Deno.stat(paths.out));
    });
  const { config, files } = bertWithHead;
  const bert = (change: { config?: object; files?: object }) => ({
    config: { ...config, ...change.config },
    files: { ...files, ...change.files },
    mode: null,
  });
  const words = (change: (words: string) => string) => ({ "vocab.txt": change(files["vocab.txt"]) });
  const settings = (json: object) => ({ "tokenizer_config.json": JSON.stringify(json) });
  await refused(
    bert({ config: { hidden_act: "relu" } }),
    /hidden_act in its config\.json is relu, and llama/,
  );
  await refused(
    bert({ files: settings({ tokenize_chinese_chars: false }) }),
    /vocab\.txt does not read texts as BERT does/,
  );
  await refused(
    bert({ files: words((text) => text.replace("##ing", "##▁a")) }),
    /vocab\.txt: two tokens are "▁a" where "##" is left out/,
  );
  await refused(
    bert({ files: settings({ added_tokens_decoder: { 12: { content: "word", single_word: true } } }) }),
    /vocab\.txt: the token "word" takes the space beside it along or stands alone/,
  );
  await refused(
    bert({ files: settings({ added_tokens_decoder: { 12: { content: "Word" } } }) }),
    /vocab\.txt: the token "Word" is found in any case, which GGUF cannot say/,
  );
  const vocab = Object.fromEntries(
    files["vocab.txt"].replace("[MASK]", "mask").split("\n").map((word, id) => [word, id]),
  );
  const unmasked = {
    normalizer: { type: "BertNormalizer" },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: { type: "BertProcessing", cls: ["[CLS]", 2], sep: ["[SEP]", 3] },
    model: { type: "WordPiece", vocab, unk_token: "[UNK]", continuing_subword_prefix: "##" },
  };
  const whole = (json: object) => ({ config, files: { "tokenizer.json": JSON.stringify(json) }, mode: null });
  await refused(
    whole(unmasked),
    /tokenizer\.json: the vocabulary lacks the token \[MASK\], which llama\.cpp/,
  );
  await refused(
    whole({ ...unmasked, normalizer: { type: "Lowercase" } }),
    /tokenizer\.json does not read texts as BERT does/,
  );
  const roberta = cases["RoBERTa with a head"];
  await refused(
    { ...roberta, files: { ...roberta.files, ...settings({ add_prefix_space: true }) } },
    /merges\.txt cuts texts in a way that has no name here/,
  );
  const json = JSON.parse(xlmFiles["tokenizer.json"]);
  const changed = (change: object) => ({
    ...xlmRoberta,
    files: { "tokenizer.json": JSON.stringify({ ...json, ...change }) },
  });
  await refused(
    changed({ normalizer: { type: "NFKC" } }),
    /tokenizer\.json does not read texts as XLM-RoBERTa does/,
  );
  await refused(
    changed({ normalizer: { type: "Sequence", normalizers: [json.normalizer, { type: "Lowercase" }] } }),
    /tokenizer\.json does not read texts as XLM-RoBERTa does/,
  );
});

Deno.test("the command merges an encoder into GGUF, and says what becomes of the head", () =>
  withAdapter(cases["BERT, mean over tokens"], async ({ folder, adapter, out }) => {
    const args = [
      "--model",
      folder,
      "--adapter",
      adapter,
      "--out",
      out,
      "--format",
      "gguf",
      "--type",
      "q8_0",
    ];
    const { code, stdout, stderr } = await runTask("merge", args);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^merged: /);
    assert.match(stderr, /its head is left out: llama\.cpp has none on the mean of a text's tokens/);
    assert.deepEqual([...Deno.readDirSync(out)].map(({ name }) => name).sort(), ["README.md", "model.gguf"]);
    const card = await Deno.readTextFile(`${out}/README.md`);
    assert.match(card, /pipeline_tag: feature-extraction/);
    assert.match(card, /llama-embedding -m DIR\/model\.gguf/);
  }));
