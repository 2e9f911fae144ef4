/**
 * Locates the tensors of a Hugging Face folder: in `model.safetensors`, or in the shards that an index lists.
 */

import * as v from "npm:valibot@1.5.0";
import { isFile, readJson } from "../files.ts";
import { recordOf } from "../record_schema.ts";
import { type MergedAdapter, mergedFrom, mergedKey } from "./merged_adapters.ts";
import { readSafetensorsHeader, type TensorPlace } from "./safetensors.ts";

const single = "model.safetensors";
const index = "model.safetensors.index.json";

/** Plain file names only, so that an index cannot point outside its folder. */
const indexSchema = v.looseObject({
  weight_map: recordOf(v.pipe(v.string(), v.regex(/^[\w.-]+$/))),
});

/**
 * The names of the tensors in each shard, by the shard's file name. Throws an Error that says what is wrong
 * with the index.
 */
export async function readIndex(path: string): Promise<Map<string, string[]>> {
  const { weight_map } = await readJson(path, indexSchema);
  return Map.groupBy(Object.keys(weight_map), (name) => weight_map[name]);
}

/**
 * Where every tensor of the checkpoint in `folder` is stored, by its name there.
 * @throws Error that names the file when there is no checkpoint, a file is malformed, or a shard lacks a
 * tensor that the index lists for it.
 */
export async function readTensorPlaces(folder: string): Promise<Map<string, TensorPlace>> {
  if (await isFile(`${folder}/${single}`)) {
    return new Map(readSafetensorsHeader(`${folder}/${single}`).places);
  }
  const path = `${folder}/${index}`;
  if (!await isFile(path)) {
    throw new Error(
      `${folder} holds neither ${single} nor ${index}: save the model with save_pretrained(…, safe_serialization=True)`,
    );
  }
  const found = new Map<string, TensorPlace>();
  for (const [shard, names] of await readIndex(path)) {
    const shardPath = `${folder}/${shard}`;
    if (!await isFile(shardPath)) {
      throw new Error(`${path} names ${shard}, and there is no such file: download it`);
    }
    const { places } = readSafetensorsHeader(shardPath);
    for (const name of names) {
      const place = places.get(name);
      if (!place) {
        throw new Error(`${path} says that "${name}" is in ${shard}, and it is not: download both again`);
      }
      found.set(name, place);
    }
  }
  return found;
}

/** The adapters that the checkpoint in `folder` has merged in. Throws an Error that names the file for a malformed note of them. */
export async function readMergedAdapters(folder: string): Promise<MergedAdapter[]> {
  const path = `${folder}/${single}`;
  // What is merged here is one file.
  return await isFile(path) ? mergedFrom(path, readSafetensorsHeader(path).metadata[mergedKey]) : [];
}
