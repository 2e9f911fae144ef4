/** The folders of tiny decoders that tests write: the tensors that transformers has, and a tokenizer with an id for every row. */

import assert from "node:assert/strict";
import { readDecoderTokenizer } from "../lib/models/decoder_tokenizer.ts";
import { readSafetensors, toFloat32 } from "../lib/models/safetensors.ts";
import { digestOfValues } from "../lib/models/values_digest.ts";
import { cases, rows, writeDecoder } from "./support/decoder_reference.ts";
import { withFolder } from "./support/files.ts";
import { seededDecoder } from "./support/seeded_checkpoint.ts";

for (const [name, expected] of Object.entries(cases)) {
  Deno.test(`${name}: the folder's tensors have the names, shapes and values of transformers' model`, async () => {
    const tensors = await withFolder(async (folder) => {
      await writeDecoder(folder, expected);
      return (await readSafetensors(`${folder}/model.safetensors`)).tensors;
    });
    const found = [...tensors.values()].map((tensor) => [
      tensor.name,
      { shape: tensor.shape, sha256: digestOfValues(toFloat32(tensor)) },
    ]);
    assert.deepEqual(Object.fromEntries(found), expected.tensors);
  });
}

Deno.test("A decoder's folder in BF16 holds the same values, rounded", async () => {
  const { config, tensors } = cases["SmolLM2"];
  const inFile = await withFolder(async (folder) => {
    await writeDecoder(folder, cases["SmolLM2"], { dtype: "BF16" });
    return (await readSafetensors(`${folder}/model.safetensors`)).tensors;
  });
  assert.deepEqual([...inFile.keys()].toSorted(), Object.keys(tensors));
  for (const [name, tensor] of inFile) {
    const values = seededDecoder(name, tensor.shape, config.model_type);
    assert.equal(tensor.dtype, "BF16", name);
    // Eight significant bits.
    toFloat32(tensor).forEach((value, i) => {
      assert.ok(
        Math.abs(value - values[i]) <= 2 ** -8 * Math.abs(values[i]),
        `${name}: ${value}, ${values[i]}`,
      );
    });
  }
});

Deno.test("A decoder's tokenizer has an id for every row, and the ends of its generation settings", async () => {
  const tokenizer = await withFolder(async (folder) => {
    await writeDecoder(folder, cases["LLaMA 2"]);
    return await readDecoderTokenizer(folder);
  });
  assert.equal(tokenizer.size, cases["LLaMA 2"].config.vocab_size);
  assert.deepEqual(tokenizer.eos, cases["LLaMA 2"].generation.eos);
  for (const { ids } of rows) {
    const text = tokenizer.decode(ids.slice(1, -1));
    assert.deepEqual([...tokenizer.encode(text, { addMarks: true }), tokenizer.endMark], ids, text);
  }
});
