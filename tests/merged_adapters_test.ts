/** An adapter is not loaded on a model that has it merged in already, wherever that is known. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { loadAdapter, saveAdapter } from "../lib/adapters/peft.ts";
import { methods } from "../lib/adapters/registry.ts";
import { startingWeights } from "../lib/adapters/starting_weights.ts";
import { streamOf, uniform } from "../lib/graph/random.ts";
import { readGgufHeader } from "../lib/models/gguf/header.ts";
import type { GgufValue } from "../lib/models/gguf/metadata.ts";
import { writeGguf } from "../lib/models/gguf/writer.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import { loadModel } from "../lib/models/load_model.ts";
import { mergedKey } from "../lib/models/merged_adapters.ts";
import type { Model, Weight } from "../lib/models/model.ts";
import { packModel } from "../lib/models/packing.ts";
import {
  encodeSafetensors,
  readSafetensors,
  readSafetensorsHeader,
  toFloat32,
} from "../lib/models/safetensors.ts";
import { exportAdapter } from "../lib/train/export_folder.ts";
import { saveMerged } from "../lib/train/merge_folder.ts";
import { saveMergedGguf } from "../lib/train/merge_gguf.ts";
import { cases, writeDecoder } from "./support/decoder_reference.ts";
import { withFolder } from "./support/files.ts";
import { addMerge } from "./support/gguf_decoder.ts";
import { testGpu } from "./support/ops.ts";
import { seeded, writeCheckpoint } from "./support/seeded_checkpoint.ts";
import { tinyBert } from "./support/tiny_bert.ts";

const again = /^[^ ]*: this adapter is merged into "[^"]*" already and would be applied twice/;
const ofTheBase =
  /^[^ ]*: the adapter was trained on the base of "[^"]*" \(its base was called "base"\), which has an adapter/;

/** Saves an adapter that changes something, or nothing, in `folder`. */
async function train(folder: string, model: Model, seed: number, moves = true): Promise<void> {
  const target = model.language ? ["q_proj", "down_proj"] : ["query"];
  const adapter = attach(model, bora, { r: 2, blocks: 4, target });
  const own = [...startingWeights(model, adapter, seed)].map(([name, { shape, data }]): [string, Weight] => {
    const moved = uniform(seed, streamOf(name), data.length, moves ? 0.2 : 0);
    return [name, { shape, data: data.map((value, i) => value + moved[i]) }];
  });
  const head = ([["classifier.weight", [2, model.width]], ["classifier.bias", [2]]] as const).map((
    [name, shape],
  ): [string, Weight] => [name, { shape, data: seeded(name, shape) }]);
  await saveAdapter(folder, model, adapter, new Map([...own, ...model.language ? [] : head]));
}

/** What loading the adapter in `folder` on the model at `path` reports. */
async function doubtsOf(path: string, folder: string, options = {}): Promise<string[]> {
  const doubts: string[] = [];
  await loadAdapter(folder, await loadModel(path, options), methods, (line) => void doubts.push(line));
  return doubts;
}

/** A tiny decoder in `at/base`, an adapter in `at/first`, and another of the same base in `at/second`. */
function withDecoder(body: (at: string) => Promise<void>): Promise<void> {
  return withFolder(async (at) => {
    await writeDecoder(`${at}/base`, cases["SmolLM2"]);
    await addMerge(`${at}/base`);
    const model = await loadDecoder(`${at}/base`);
    await train(`${at}/first`, model, 1);
    await train(`${at}/second`, model, 2);
    await body(at);
  });
}

async function mergeGguf(
  model: string,
  adapter: string,
  out: string,
  type: "f16" | "q8_0" = "f16",
): Promise<void> {
  await saveMergedGguf({ gpu: await testGpu(), model, adapter, out, type, report: () => {} });
}

Deno.test("a decoder's adapter is refused on its own merged GGUF, in its blocks, unpacked and packed, and on its merged folder", () =>
  withDecoder(async (at) => {
    for (const type of ["f16", "q8_0"] as const) {
      await mergeGguf(`${at}/base`, `${at}/first`, `${at}/merged ${type}`, type);
      for (const options of [{}, { unpack: true }, { unpack: true, packing: "int8" }]) {
        await assert.rejects(doubtsOf(`${at}/merged ${type}`, `${at}/first`, options), { message: again });
      }
    }
    await saveMerged(await testGpu(), `${at}/base`, `${at}/first`, `${at}/folder`);
    await assert.rejects(doubtsOf(`${at}/folder`, `${at}/first`), { message: again });
    assert.equal((await doubtsOf(`${at}/base`, `${at}/first`)).length, 0);
  }));

Deno.test("so are another adapter of the base, and the adapter's export as a plain LoRA", () =>
  withDecoder(async (at) => {
    await mergeGguf(`${at}/base`, `${at}/first`, `${at}/merged`);
    await assert.rejects(doubtsOf(`${at}/merged`, `${at}/second`), { message: ofTheBase });
    const gpu = await testGpu();
    await exportAdapter({
      gpu,
      model: `${at}/base`,
      adapter: `${at}/first`,
      format: "peft",
      out: `${at}/lora`,
    });
    await assert.rejects(doubtsOf(`${at}/merged`, `${at}/lora`), { message: ofTheBase });
  }));

Deno.test("an adapter that was trained on the merged model is loaded on it; merged as well, both are refused", () =>
  withDecoder(async (at) => {
    await mergeGguf(`${at}/base`, `${at}/first`, `${at}/merged`);
    await train(`${at}/third`, await loadDecoder(`${at}/merged`), 3);
    assert.deepEqual(await doubtsOf(`${at}/merged`, `${at}/third`), []);
    await mergeGguf(`${at}/merged`, `${at}/third`, `${at}/both`);
    assert.equal((await loadDecoder(`${at}/both`)).merged!.length, 2);
    for (const name of ["first", "third"]) {
      await assert.rejects(doubtsOf(`${at}/both`, `${at}/${name}`), { message: again });
    }
  }));

Deno.test("an adapter without a record of its base is refused where it is merged itself, and else only doubted", () =>
  withDecoder(async (at) => {
    for (const name of ["first", "second"]) {
      const path = `${at}/${name}/adapter_model.safetensors`;
      const { tensors } = await readSafetensors(path);
      const bare = [...tensors].map(([key, tensor]): [string, Weight] => [
        key,
        { shape: tensor.shape, data: toFloat32(tensor) },
      ]);
      await Deno.writeFile(path, encodeSafetensors(new Map(bare), {}));
    }
    await mergeGguf(`${at}/base`, `${at}/first`, `${at}/merged`);
    await assert.rejects(doubtsOf(`${at}/merged`, `${at}/first`), { message: again });
    const [doubt, ...more] = await doubtsOf(`${at}/merged`, `${at}/second`);
    assert.match(doubt, /does not say which values its base had/);
    assert.deepEqual(more, []);
  }));

Deno.test("an adapter that changes nothing leaves its base as it was: others of it are loaded", () =>
  withDecoder(async (at) => {
    // Values that F16 has, so that the merged file has them as well.
    await mergeGguf(`${at}/base`, `${at}/first`, `${at}/half`);
    const half = await loadDecoder(`${at}/half`);
    await train(`${at}/nothing`, half, 4, false);
    await train(`${at}/other`, half, 5);
    await mergeGguf(`${at}/half`, `${at}/nothing`, `${at}/same`);
    assert.deepEqual(await doubtsOf(`${at}/same`, `${at}/other`), []);
    await assert.rejects(doubtsOf(`${at}/same`, `${at}/nothing`), { message: again });
  }));

Deno.test("an encoder's adapter is refused on its merged folder, and on that packed", () =>
  withFolder(async (at) => {
    await writeCheckpoint(`${at}/base`, tinyBert);
    await train(`${at}/adapter`, await loadEncoder(`${at}/base`), 1);
    await saveMerged(await testGpu(), `${at}/base`, `${at}/adapter`, `${at}/merged`);
    const { metadata } = readSafetensorsHeader(`${at}/merged/model.safetensors`);
    assert.deepEqual(Object.keys(metadata), ["format", mergedKey]);
    assert.equal(metadata.format, "pt");
    const merged = await loadEncoder(`${at}/merged`);
    for (const model of [merged, packModel(merged, "int8")]) {
      await assert.rejects(loadAdapter(`${at}/adapter`, model), { message: again });
    }
  }));

Deno.test("a note of merged adapters that is malformed is named with its file", () =>
  withDecoder(async (at) => {
    await mergeGguf(`${at}/base`, `${at}/first`, `${at}/merged`);
    const path = `${at}/merged/model.gguf`;
    const { metadata, places } = await readGgufHeader(path);
    const bytes = await Deno.readFile(path);
    for (
      const [value, message] of [
        ["[", `${path}: ${mergedKey}: file: is no JSON: merge again`],
        ['[{"adapter":"x","base":"y"}]', `${path}: ${mergedKey}: 0.adapter: write a SHA-256`],
      ]
    ) {
      const noted = new Map<string, GgufValue>([...metadata.values, [mergedKey, { type: "string", value }]]);
      const tensors = [...places.values()].map((place) => ({
        ...place,
        pieces: () => [bytes.slice(place.begin, place.end)],
      }));
      await writeGguf(path, noted, tensors);
      await assert.rejects(loadDecoder(path), { message });
    }
  }));
