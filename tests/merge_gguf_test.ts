/** Decoders in GGUF with an adapter merged in, as GGUF again, and LoRAs in GGUF for them. */

import assert from "node:assert/strict";
import { attach, type AttachOptions } from "../lib/adapters/attach.ts";
import { loadAdapter, saveAdapter, type SavedAdapter } from "../lib/adapters/peft.ts";
import { methodByName, methods } from "../lib/adapters/registry.ts";
import { startingWeights } from "../lib/adapters/starting_weights.ts";
import { streamOf, uniform } from "../lib/graph/random.ts";
import { pack, unpack } from "../lib/models/packing.ts";
import { readSafetensors, toFloat32 } from "../lib/models/safetensors.ts";
import { huggingFacePlaces } from "../lib/models/gguf/hugging_face_places.ts";
import type { GgufValue } from "../lib/models/gguf/metadata.ts";
import { readGguf } from "../lib/models/gguf/split_set.ts";
import { tokenizerMetadata } from "../lib/models/gguf/tokenizer_metadata.ts";
import { ggufTokenizer } from "../lib/models/gguf_tokenizer.ts";
import { readDecoderTokenizer } from "../lib/models/decoder_tokenizer.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import { mergedKey } from "../lib/models/merged_adapters.ts";
import type { Decoder, Model, Weight } from "../lib/models/model.ts";
import { StoredWeight } from "../lib/models/stored_weight.ts";
import { exportAdapter } from "../lib/train/export_folder.ts";
import { saveMerged } from "../lib/train/merge_folder.ts";
import { saveMergedGguf } from "../lib/train/merge_gguf.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import { cardFields } from "./support/card_fields.ts";
import { runTask } from "./support/command.ts";
import { logitsOf } from "./support/decoder_logits.ts";
import { cases, type DecoderCase, rows, writeDecoder } from "./support/decoder_reference.ts";
import { publishedEncoders, publishedFiles } from "./support/decoder_vocabularies.ts";
import { withFiles, withFolder } from "./support/files.ts";
import { addMerge, writeGgufDecoder } from "./support/gguf_decoder.ts";
import { testGpu } from "./support/ops.ts";

const ids = rows.map(({ ids }) => [...ids]);
const target = ["q_proj", "k_proj", "o_proj"];

/** The same tiny decoder as a folder and as GGUF, and an adapter of its own for it. */
function withModels(
  expected: DecoderCase,
  body: (paths: Readonly<Record<"folder" | "file" | "adapter" | "out", string>>) => Promise<void>,
  method = "BoRA",
  options: object = { r: 2, blocks: 4, target },
  fileName = "model.gguf",
): Promise<void> {
  return withFolder(async (at) => {
    const paths = {
      ...{ folder: `${at}/folder`, file: `${at}/${fileName}` },
      ...{ adapter: `${at}/adapter`, out: `${at}/out` },
    };
    await writeDecoder(paths.folder, expected);
    await writeGgufDecoder(paths.file, expected);
    const model: Model = await loadDecoder(paths.folder);
    const adapter = attach(model, methodByName(method), options as AttachOptions);
    const weights = [...startingWeights(model, adapter, 0)].map(([name, { shape, data }]) => {
      const moved = uniform(5, streamOf(name), data.length, 0.2);
      return [name, { shape, data: data.map((value, i) => value + moved[i]) }] as [string, Weight];
    });
    await saveAdapter(paths.adapter, model, adapter, new Map(weights));
    await body(paths);
  });
}

/** The tensors of a folder's file as float32. */
async function tensorsIn(folder: string): Promise<Map<string, Weight>> {
  const { tensors } = await readSafetensors(`${folder}/model.safetensors`);
  return new Map([...tensors].map(([name, own]) => [name, { shape: own.shape, data: toFloat32(own) }]));
}

/** `type` of a merged file's tensors, by shape, and the values that its rounding makes. */
function rounded(name: string, weight: Weight, type: "f16" | "q8_0"): { dtype: string; data: Float32Array } {
  const { shape: [, columns], data } = weight;
  if (columns === undefined) return { dtype: "F32", data };
  const packing = type === "q8_0" && columns % 32 === 0 ? "q8_0" : "f16";
  return { dtype: packing.toUpperCase(), data: unpack(pack(name, weight, packing)).data };
}

for (
  const [name, type, method, options] of [
    ["SmolLM2", "f16", "BoRA", { r: 2, blocks: 4, target }],
    // Rows of 96 values are blocks of Q8_0, those of 48 and 80 are not.
    ["Qwen3", "q8_0", "BoRA", { r: 2, blocks: 4, target }],
    // Computes with the base's values; norms and the embeddings are trained beside it.
    ["LLaMA with biases", "f16", "DoRA", {
      ...{ r: 2, target: ["v_proj", "down_proj"], modulesToSave: ["self_attn.q_proj", "norm"] },
    }],
  ] as const
) {
  Deno.test(`${name} with ${method}: the merged GGUF in ${type} has the merged folder's values, rounded, and its logits`, () =>
    withModels(
      cases[name],
      async ({ folder, file, adapter, out }) => {
        const gpu = await testGpu();
        await saveMerged(gpu, folder, adapter, `${out}-folder`);
        await saveMergedGguf({ gpu, model: file, adapter, out, type });
        const theirs = await tensorsIn(`${out}-folder`);
        const read = await readGguf(`${out}/model.gguf`);
        const places = huggingFacePlaces(read);
        assert.deepEqual([...places.keys()].toSorted(), [...theirs.keys()].toSorted());
        for (const [tensor, weight] of theirs) {
          const { dtype, data } = rounded(tensor, weight, type);
          assert.equal(places.get(tensor)!.dtype, dtype, tensor);
          assert.deepEqual(new StoredWeight(places.get(tensor)!).data, data, tensor);
        }
        const before = (await readGguf(file)).metadata.values;
        const changed = new Map([...before, ["general.file_type", {
          ...{ type: "uint32", value: type === "f16" ? 1 : 7 },
        }]]);
        if (type === "q8_0") changed.set("general.quantization_version", { type: "uint32", value: 2 });
        const found = new Map(read.metadata.values);
        assert.ok(found.delete(mergedKey));
        assert.deepEqual(found, changed);
        const [own, exact] = await Promise.all(
          [out, `${out}-folder`].map(async (path) =>
            (await logitsOf(gpu, await loadDecoder(path), ids)).flatMap((row) => [...row])
          ),
        );
        const error = relativeError(own, exact);
        assert.ok(error < 0.02, `relative error ${error}`);
      },
      method,
      options,
    ));
}

Deno.test("Gemma's norms are 1 + w in GGUF: trained, they mean the same there and in a folder, in files of either and merged", () =>
  withModels(
    cases["Gemma"],
    async ({ folder, file, adapter, out }) => {
      const gpu = await testGpu();
      const [ofFolder, ofFile] = [await loadDecoder(folder), await loadDecoder(file)];
      const logits = async (model: Decoder, saved?: SavedAdapter) =>
        (await logitsOf(gpu, model, ids, undefined, saved)).flatMap((row) => [...row]);
      const [inFolder, inFile] = [await loadAdapter(adapter, ofFolder), await loadAdapter(adapter, ofFile)];
      await saveAdapter(`${out}-again`, ofFile, inFile.adapter, inFile.weights);
      const again = await loadAdapter(`${out}-again`, ofFolder);
      const norm = "model.norm.weight";
      const values = (saved: SavedAdapter) => [...saved.weights.get(norm)!.data];
      assert.ok(relativeError(values(again), values(inFolder)) < 1e-6);
      await saveMerged(gpu, folder, adapter, `${out}-folder`);
      await saveMergedGguf({ gpu, model: file, adapter, out, type: "f16" });
      const plain = await logits(ofFolder);
      const adapted = await logits(ofFolder, inFolder);
      assert.ok(relativeError(adapted, plain) > 0.1);
      for (
        const [what, found, wanted, most] of [
          ["the base in GGUF", await logits(ofFile), plain, 1e-5],
          ["the adapter on GGUF", await logits(ofFile, inFile), adapted, 1e-5],
          ["saved from GGUF", await logits(ofFolder, again), adapted, 1e-5],
          ["merged into a folder", await logits(await loadDecoder(`${out}-folder`)), adapted, 1e-4],
          ["merged into GGUF", await logits(await loadDecoder(out)), adapted, 0.02],
        ] as const
      ) {
        const error = relativeError(found, wanted);
        assert.ok(error < most, `${what}: relative error ${error}`);
      }
    },
    "LoRA",
    { r: 2, target, modulesToSave: ["norm"] },
  ));

Deno.test("an adapter of a Gemma in a folder is not of another base in GGUF, where its norms are 1 + w: it is another form", () =>
  withModels(
    cases["Gemma"],
    async ({ file, adapter }) => {
      const lines: string[] = [];
      await loadAdapter(adapter, await loadDecoder(file), methods, (line) => void lines.push(line));
      assert.equal(lines.length, 1);
      assert.match(lines[0], /another form of its base .*norm\.weight" was F32 and is F32_1; make sure/);
      const model = await loadDecoder(file);
      const again = await loadAdapter(adapter, model, methods, () => {});
      await saveAdapter(adapter, model, again.adapter, again.weights);
      await loadAdapter(adapter, model, methods, (line) => assert.fail(line));
    },
    "LoRA",
    { r: 2, target },
  ));

Deno.test("a set of files becomes one file, and a LoRA in GGUF is the same for a folder and for its GGUF", () =>
  withModels(
    cases["SmolLM2"],
    async ({ folder, file, adapter, out }) => {
      const gpu = await testGpu();
      await saveMergedGguf({ gpu, model: file, adapter, out, type: "f16" });
      const { metadata, places } = await readGguf(`${out}/model.gguf`);
      assert.equal(places.size, Object.keys(cases["SmolLM2"].tensors).length);
      assert.ok(![...metadata.values.keys()].some((key) => key.startsWith("split.")));
      for (const [at, model] of [["of-folder", folder], ["of-file", file]]) {
        await exportAdapter({ gpu, model, adapter, format: "gguf", out: `${out}-${at}` });
      }
      const [ofFolder, ofFile] = await Promise.all(["of-folder", "of-file"].map(async (at) => {
        const read = await readGguf(`${out}-${at}/adapter.gguf`);
        return [...read.places.values()].map((place) => [place.name, new StoredWeight(place).data]);
      }));
      assert.deepEqual(ofFile, ofFolder);
    },
    "BoRA",
    { r: 2, blocks: 4, target },
    "set-00001-of-00002.gguf",
  ));

Deno.test("an adapter that was trained on packed blocks is merged and exported without a doubt about its base", () =>
  withModels(cases["SmolLM2"], async ({ file, adapter, out }) => {
    const gpu = await testGpu();
    await saveMergedGguf({ gpu, model: file, adapter, out, type: "f16" });
    const packed = await loadDecoder(out);
    assert.ok(packed.packed!.size > 0);
    const own = attach(packed, methodByName("BoRA"), { r: 2, blocks: 4, target } as AttachOptions);
    await saveAdapter(`${out}-adapter`, packed, own, startingWeights(packed, own, 0));
    const doubts: string[] = [];
    const report = (line: string) => void doubts.push(line);
    const from = { gpu, model: out, adapter: `${out}-adapter`, report };
    await saveMergedGguf({ ...from, out: `${out}-again`, type: "f16" });
    await exportAdapter({ ...from, format: "peft", rank: 4, out: `${out}-lora` });
    assert.deepEqual(doubts, []);
    // The adapter changes nothing yet.
    const [before, after] = await Promise.all([out, `${out}-again`].map(async (at) => {
      const { places } = await readGguf(`${at}/model.gguf`);
      const bytes = await Deno.readFile(`${at}/model.gguf`);
      return [...places.values()].map(({ name, begin, end }) => [name, bytes.subarray(begin, end)]);
    }));
    assert.deepEqual(after, before);
  }));

Deno.test("the command merges a GGUF file into one, and refuses a folder, a type and a method that cannot be merged", () =>
  withModels(cases["SmolLM2"], async ({ folder, file, adapter, out }) => {
    const merge = (model: string, ...args: string[]) =>
      runTask("merge", ["--model", model, "--adapter", adapter, "--out", out, ...args]);
    const refused = async (code: number, message: RegExp, ...args: Parameters<typeof merge>) => {
      const found = await merge(...args);
      assert.deepEqual([found.code, found.stdout], [code, ""], found.stderr);
      assert.match(found.stderr, message);
      await assert.rejects(Deno.stat(out));
    };
    await refused(1, /tokenizer\.ggml: merges: Invalid length/, folder, "--format", "gguf");
    await refused(2, /--type is "q4_0": use one of f16, q8_0/, file, "--format", "gguf", "--type", "q4_0");
    await refused(2, /give --format gguf as well/, file, "--type", "f16");
    await refused(1, /is a GGUF file, and a folder of transformers is made of one/, file);
    const made = await merge(file, "--format", "gguf", "--type", "q8_0");
    assert.equal(made.code, 0, made.stderr);
    assert.deepEqual([...Deno.readDirSync(out)].map(({ name }) => name).toSorted(), [
      "README.md",
      "model.gguf",
    ]);
    assert.equal(cardFields(await Deno.readTextFile(`${out}/README.md`)).library_name, "llama.cpp");
  }));

for (const name of ["SmolLM2", "LLaMA 3.1", "LLaMA 3.2", "LLaMA with biases", "Qwen2", "Qwen3"]) {
  Deno.test(`${name} in a folder is merged into GGUF: the settings, the tokenizer and the logits are the folder's`, () =>
    withModels(cases[name], async ({ folder, adapter, out }) => {
      const gpu = await testGpu();
      await addMerge(folder);
      await Deno.writeTextFile(`${folder}/chat_template.jinja`, "{{ messages[0].content }}");
      await saveMerged(gpu, folder, adapter, `${out}-folder`);
      await saveMergedGguf({ gpu, model: folder, adapter, out, type: "f16" });
      const [own, theirs] = await Promise.all([out, `${out}-folder`].map((at) => loadDecoder(at)));
      const { tokenizer, templates } = own.language;
      assert.equal(templates!.byName.default, "{{ messages[0].content }}");
      for (const text of ["a!!b", "x y!!!", "<s>a</s>"]) {
        const options = { addMarks: true };
        assert.deepEqual(tokenizer.encode(text, options), theirs.language.tokenizer.encode(text, options));
      }
      assert.equal(tokenizer.endMark, theirs.language.tokenizer.endMark);
      assert.equal(own.maxTokens, theirs.maxTokens);
      const [logits, exact] = await Promise.all(
        [own, theirs].map(async (model) => (await logitsOf(gpu, model, ids)).flatMap((row) => [...row])),
      );
      const error = relativeError(logits, exact);
      assert.ok(error < 0.02, `relative error ${error}`);
    }));
}

for (
  const [name, lost] of [["Mistral", "window"], ["Gemma", "normOffset"], ["Qwen2 with a window", "window"]]
) {
  Deno.test(`${name} in a folder is not merged into GGUF, because of its ${lost}`, () =>
    withModels(cases[name], async ({ folder, adapter, out }) => {
      await addMerge(folder);
      await assert.rejects(
        async () => saveMergedGguf({ gpu: await testGpu(), model: folder, adapter, out, type: "f16" }),
        (error: Error) =>
          error.message.startsWith(
            `${folder}: its config.json sets what GGUF's metadata do not carry (${lost})`,
          ),
      );
    }));
}

for (const [name, pre] of [["llama3", "llama-bpe"], ["qwen2_5", "qwen2"]] as const) {
  Deno.test(`the published tokenizer ${name} as GGUF's metadata has its ids, marks and templates`, () =>
    withFiles(publishedFiles(name), async (folder) => {
      const theirs = await readDecoderTokenizer(folder);
      const metadata = await tokenizerMetadata(folder, theirs.size + 3);
      assert.equal(metadata.get("tokenizer.ggml.pre")!.value, pre);
      const own = ggufTokenizer("x.gguf", new Map([...metadata].map(([key, { value }]) => [key, value])));
      for (const [text, ids] of Object.entries(publishedEncoders[name])) {
        assert.deepEqual(own.encode(text, { specialAsText: true }), ids, text);
        assert.deepEqual(own.encode(text, { addMarks: true }), theirs.encode(text, { addMarks: true }));
      }
      assert.deepEqual([own.bos, own.endMark], [theirs.bos, theirs.endMark]);
      for (const special of theirs.specialTokens) {
        assert.deepEqual(own.encode(special), theirs.encode(special), special);
      }
      // Rows that no token has.
      assert.deepEqual([own.size, own.unused], [theirs.size, theirs.unused]);
    }));
}

Deno.test("a mark that is named but is no token has no id in GGUF's metadata", async () => {
  const settings = JSON.parse(publishedFiles("qwen2_5")["tokenizer_config.json"]);
  const entries = async (change: object) => {
    const files = publishedFiles("qwen2_5", { "tokenizer_config.json": { ...settings, ...change } });
    let found = new Map<string, GgufValue>();
    await withFiles(files, async (folder) => void (found = await tokenizerMetadata(folder, 152_000)));
    return ["padding", "eos"].map((name) => found.get(`tokenizer.ggml.${name}_token_id`)?.value);
  };
  const [padding, end] = await entries({});
  assert.ok(Number(padding) > 0 && Number(end) > 0);
  assert.deepEqual(await entries({ pad_token: "[PAD]" }), [undefined, end]);
});

Deno.test("a mark that closes texts is in GGUF's metadata where it is the end's, and refused where it is another", async () => {
  const json = JSON.parse(publishedFiles("qwen2_5")["tokenizer.json"]);
  const closedBy = async <T>(token: string, id: number, use: (folder: string) => Promise<T>) => {
    const single = [{ Sequence: { id: "A", type_id: 0 } }, { SpecialToken: { id: token, type_id: 0 } }];
    const special_tokens = { [token]: { id: token, ids: [id], tokens: [token] } };
    const post_processor = { type: "TemplateProcessing", single, pair: single, special_tokens };
    await withFiles(publishedFiles("qwen2_5", { "tokenizer.json": { ...json, post_processor } }), use);
  };
  const key = "tokenizer.ggml.add_eos_token";
  await closedBy("<|im_end|>", 151645, async (folder) => {
    assert.equal((await tokenizerMetadata(folder, 152_000)).get(key)?.value, true);
  });
  await closedBy("<|endoftext|>", 151643, (folder) =>
    assert.rejects(tokenizerMetadata(folder, 152_000), {
      message:
        `${folder}: its tokenizer ends texts with the ids 151643, and GGUF with 151645: merge it into a folder`,
    }));
  await withFiles(
    publishedFiles("qwen2_5"),
    async (folder) => assert.ok(!(await tokenizerMetadata(folder, 152_000)).has(key)),
  );
});

Deno.test("tokenizers that GGUF's metadata cannot say for certain are refused by their file", async () => {
  for (const name of ["gemma", "llama2"] as const) {
    await withFiles(publishedFiles(name), async (folder) => {
      await assert.rejects(tokenizerMetadata(folder, 300_000), {
        message:
          `${folder}/tokenizer.json is no byte-level tokenizer, and of others it lacks what GGUF has of them`,
      });
    });
  }
  const { "tokenizer.json": text } = publishedFiles("qwen2_5");
  const changed = async (change: object, message: RegExp) => {
    const files = publishedFiles("qwen2_5", { "tokenizer.json": { ...JSON.parse(text), ...change } });
    await withFiles(files, (folder) => assert.rejects(tokenizerMetadata(folder, 152_000), { message }));
  };
  await changed(
    { normalizer: null },
    /cuts texts in a way that has no name here; known are gpt-2, llama-bpe/,
  );
  await changed(
    { added_tokens: [{ id: 151_643, content: "<|endoftext|>", special: true, lstrip: true }] },
    /the token "<\|endoftext\|>" takes the space beside it along/,
  );
});
