/** Models, adapters and rows of text that are held in memory, as in a browser: read as from a disk. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { lora } from "../lib/adapters/lora.ts";
import { adapterFiles, loadAdapter, saveAdapter } from "../lib/adapters/peft.ts";
import { methods } from "../lib/adapters/registry.ts";
import { loadLanguageTask } from "../lib/data/language_task.ts";
import { makeParents, namesIn, openFile } from "../lib/files.ts";
import { FilesInMemory } from "../lib/files_in_memory.ts";
import { Writer } from "../lib/generate/writer.ts";
import { readChatTemplates } from "../lib/models/chat_template.ts";
import { describingFilesIn } from "../lib/models/folder_files.ts";
import { isPackable, type PackedPlace, StoredPackedWeight } from "../lib/models/gguf/packed_weight.ts";
import { readGguf } from "../lib/models/gguf/split_set.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import { locateModel } from "../lib/models/locate_model.ts";
import { StoredWeight } from "../lib/models/stored_weight.ts";
import { cases, newTokens, writeDecoder } from "./support/decoder_reference.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";
import { seeded } from "./support/seeded_checkpoint.ts";

const llama = cases["LLaMA 2"];

/** The bytes of a folder's files, by name. */
async function bytesOf(folder: string): Promise<Record<string, Uint8Array<ArrayBuffer>>> {
  const names = await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await Deno.readFile(`${folder}/${name}`)])),
  );
}

Deno.test("a decoder's folder in memory is the decoder, by its name, with the same weights and texts", () =>
  withFolder(async (folder) => {
    await writeDecoder(folder, llama);
    const onDisk = await loadDecoder(folder);
    using files = new FilesInMemory("tiny", await bytesOf(folder));
    const model = await loadDecoder(files.path);
    assert.equal(model.name, "tiny");
    for (const [name, { data }] of onDisk.weights) {
      assert.deepEqual(model.weights.get(name)!.data, data, name);
    }
    using writer = new Writer({ gpu: await testGpu(), model });
    const [{ prompt, ids }] = llama.generation.greedy;
    assert.deepEqual((await writer.write([prompt], { maxTokens: newTokens }))[0].ids, ids);
  }));

Deno.test("a GGUF file in memory is found in its folder, and its tensors are those of the disk", async () => {
  const onDisk = new URL("fixtures/gguf_files/llama.gguf", import.meta.url).pathname;
  using files = new FilesInMemory("tiny", { "llama.gguf": await Deno.readFile(onDisk) });
  const { path, name } = await locateModel(files.path);
  assert.deepEqual([path, name], [`${files.path}/llama.gguf`, "tiny"]);
  await assert.rejects(loadEncoder(files.path), /llama\.gguf is a GGUF file, .*: use loadDecoder$/);
  const [expected, own] = [await readGguf(onDisk), await readGguf(path)];
  assert.deepEqual([...own.places.keys()], [...expected.places.keys()]);
  for (const [name, place] of expected.places) {
    const inMemory = own.places.get(name)!;
    assert.deepEqual(new StoredWeight(inMemory).data, new StoredWeight(place).data, name);
    if (!isPackable(place)) continue;
    const { words } = new StoredPackedWeight(inMemory as PackedPlace);
    assert.deepEqual(words, new StoredPackedWeight(place).words, name);
  }
});

Deno.test("files in folders of a folder in memory are found as on a disk: chat templates with names, and not their models", () =>
  withFolder(async (folder) => {
    const files = {
      "tokenizer_config.json": "{}",
      "chat_template.jinja": "plain",
      "additional_chat_templates/tool_use.jinja": "with tools",
      "additional_chat_templates/rag.txt": "no template",
      "model.gguf": "",
      "draft/model.gguf": "",
    };
    for (const [name, text] of Object.entries(files)) {
      await makeParents(`${folder}/${name}`);
      await Deno.writeTextFile(`${folder}/${name}`, text);
    }
    using inMemory = new FilesInMemory("tiny", files);
    for (const path of [folder, inMemory.path]) {
      assert.deepEqual((await readChatTemplates(path))!.byName, { default: "plain", tool_use: "with tools" });
      assert.deepEqual((await describingFilesIn(path)).toSorted(), Object.keys(files).slice(0, 3).toSorted());
      assert.equal((await locateModel(path)).path, `${path}/model.gguf`);
      assert.deepEqual((await namesIn(path)).toSorted(), [
        ...["additional_chat_templates", "chat_template.jinja", "draft", "model.gguf"],
        "tokenizer_config.json",
      ]);
    }
  }));

Deno.test("an adapter's files are what saveAdapter writes, and are loaded from memory", () =>
  withFolder(async (folder) => {
    await writeDecoder(`${folder}/model`, llama);
    const model = await loadDecoder(`${folder}/model`);
    const adapter = attach(model, lora, { r: 2, target: ["q_proj"] });
    const trained = new Map(
      [...adapter.parameters].map(([name, { shape }]) => [name, { shape, data: seeded(name, shape) }]),
    );
    const files = adapterFiles(model, adapter, trained);
    await saveAdapter(`${folder}/adapter`, model, adapter, trained);
    using inMemory = new FilesInMemory("adapter", files);
    using fromDisk = new FilesInMemory("adapter", await bytesOf(`${folder}/adapter`));
    assert.deepEqual(
      Object.keys(files).toSorted(),
      Object.keys(await bytesOf(`${folder}/adapter`)).toSorted(),
    );
    for (const own of [inMemory, fromDisk]) {
      const { weights } = await loadAdapter(own.path, model, methods, assert.fail);
      assert.deepEqual(weights, trained);
    }
  }));

Deno.test("errors name files in memory and their lines; what was disposed of is there no more", async () => {
  const rows = '{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n';
  const files = new FilesInMemory("page", { "rows.jsonl": rows });
  const path = `${files.path}/rows.jsonl`;
  assert.match(path, /^memory:\d+\/page\/rows\.jsonl$/);
  await assert.rejects(
    loadLanguageTask({ train: path, dev: path, maxTokens: 8 }),
    { message: `${path} line 2: "completion" is missing: write a text, or "" for none` },
  );
  await assert.rejects(loadDecoder(files.path), {
    message: `there is no file ${files.path}/config.json: check its path`,
  });
  using file = openFile(path);
  assert.equal(file.readAt(new Uint8Array(2), rows.length - 1), false);
  files[Symbol.dispose]();
  assert.throws(
    () => openFile(path),
    /^Error: there is no file memory:.*rows\.jsonl: keep the FilesInMemory/,
  );
});

Deno.test("what is neither bytes nor a text, such as what fetch gives, is refused by name", () => {
  for (const content of [new ArrayBuffer(8), { model_type: "llama" }, undefined]) {
    assert.throws(
      () => new FilesInMemory("tiny", { "model.gguf": content as unknown as string }),
      /^Error: model\.gguf is neither bytes nor a text: give a Uint8Array/,
    );
  }
});
