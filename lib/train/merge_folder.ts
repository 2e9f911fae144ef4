/**
 * Writes an encoder with an adapter and its head merged in, as a folder that transformers loads without PEFT.
 */

import { checkMergeable } from "../adapters/merge.ts";
import { moduleOf } from "../adapters/names.ts";
import { loadAdapter, type SavedAdapter } from "../adapters/peft.ts";
import { methods } from "../adapters/registry.ts";
import { constantWeights } from "../adapters/starting_weights.ts";
import { headCopy, trainedAsHead } from "../adapters/tied_head.ts";
import { cardFile, cardText } from "../adapters/card/card.ts";
import { mergedCard } from "../adapters/card/merged_card.ts";
import { isFile, makeParents, readBytes, refuseExisting, writeFolder, writeWhole } from "../files.ts";
import type { Gpu } from "../gpu/device.ts";
import { describingFilesIn } from "../models/folder_files.ts";
import { readEncoderConfig } from "../models/hugging_face_config.ts";
import { readTensorPlaces } from "../models/hugging_face_weights.ts";
import { trunkNames } from "../models/load_encoder.ts";
import { loadModel } from "../models/load_model.ts";
import { locateModel } from "../models/locate_model.ts";
import { mergedKey, mergedText, mergedWith } from "../models/merged_adapters.ts";
import type { Model, Weight } from "../models/model.ts";
import { fromFloat32 } from "../models/safetensors.ts";
import { bytesAt, type TensorSource, writeTensors } from "../models/safetensors_writer.ts";
import { FrozenWeights } from "../run/frozen_weights.ts";
import { mergedConfig } from "./merge_config.ts";
import { changesOf, type NewValues } from "./merge_weight.ts";

/**
 * Merges the adapter in the folder `adapter` into the model `model` (a folder or an id of the Hugging Face
 * hub), and writes `out`, a folder that transformers loads: a decoder as `…ForCausalLM` with the `config.json` that it has, an
 * encoder as `…ForSequenceClassification`. The folder holds
 * what describes the base (`folder_files.ts`), `config.json` (see `mergedConfig`), and `model.safetensors` with the base's tensors
 * under their own names and dtypes. Adapted weights and the head are computed in float32 and rounded to their
 * dtype; all other bytes are copied from the base. If the base has no head, its tensors' names get the prefix
 * that they have in a model with a head. Only one tensor at a time is in memory.
 *
 * A base of sentence-transformers takes the files that say how its tokens are pooled along. No class of transformers has a head
 * on such vectors: AutoModel or sentence-transformers load the trunk, and the head is the file's `head.weight` and `head.bias`.
 *
 * Its README.md is a model card of the Hugging Face hub's. A temporary folder is written and then renamed to `out`. `report` receives `loadAdapter`'s messages about
 * the base.
 * @throws Error when `out` exists, the base is a GGUF file, the method cannot be merged or an encoder's adapter has no head, and
 * what `loadModel` and `loadAdapter` throw. No `out` is left then.
 */
export async function saveMerged(
  gpu: Gpu,
  model: string,
  adapter: string,
  out: string,
  report?: (line: string) => void,
): Promise<void> {
  await refuseExisting(out);
  const { path: folder } = await locateModel(model);
  if (await isFile(folder)) {
    throw new Error(
      `${folder} is a GGUF file, and a folder of transformers is made of one: merge into a GGUF file, or take the model's own folder`,
    );
  }
  const base = await loadModel(model, {}, report);
  const saved = await loadAdapter(adapter, base, methods, report);
  checkMergeable(saved.adapter.method);
  if (base.language) return await saveDecoder(gpu, folder, base, saved, out);
  await saveEncoder(gpu, folder, base, saved, adapter, out);
}

async function saveDecoder(
  gpu: Gpu,
  folder: string,
  base: Model,
  saved: SavedAdapter,
  out: string,
): Promise<void> {
  const places = await readTensorPlaces(folder);
  using own = new FrozenWeights(gpu, new Map([...constantWeights(base, saved.adapter), ...saved.weights]));
  const changes = changesOf(gpu, base, saved, own);
  // A head that the base stores but does not compute with would be one of its own beside other embeddings.
  const isStale = (name: string) => name === headCopy && trainedAsHead(base, saved.adapter) !== undefined;
  const tensors = [...places].filter(([name]) => !isStale(name)).map(([name, place]) => {
    const change = changes.get(name);
    return change ? valuesAs(place, change) : { ...place, pieces: () => bytesAt(place) };
  });
  await writeFolder(out, async (part) => {
    await copyFiles(folder, part, await describingFilesIn(folder));
    await writeTensors(`${part}/model.safetensors`, tensors, noteOf(base, saved));
    await writeWhole(`${part}/${cardFile}`, cardText(mergedCard(base, saved, "transformers")));
  });
}

async function copyFiles(folder: string, part: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    await makeParents(`${part}/${name}`);
    await writeWhole(`${part}/${name}`, await readBytes(`${folder}/${name}`));
  }
}

async function saveEncoder(
  gpu: Gpu,
  folder: string,
  encoder: Model,
  saved: SavedAdapter,
  adapter: string,
  out: string,
): Promise<void> {
  const head = headOf(encoder, saved, adapter);
  const [outputs] = head.get(`${encoder.head.projection}.weight`)!.shape;
  const config = await mergedConfig(folder, adapter, outputs);
  await writeFolder(out, async (part) => {
    await copyFiles(folder, part, await describingFilesIn(folder));
    await writeWhole(`${part}/config.json`, config);
    await writeWeights(gpu, folder, encoder, saved, head, `${part}/model.safetensors`);
    await writeWhole(`${part}/${cardFile}`, cardText(mergedCard(encoder, saved, "transformers")));
  });
}

/** The trained head's tensors, under their names in a checkpoint. */
function headOf(encoder: Model, { weights }: SavedAdapter, adapter: string): Map<string, Weight> {
  const { module } = encoder.head;
  const head = [...weights].filter(([name]) => name.startsWith(`${module}.`));
  if (head.length > 0) return new Map(head);
  throw new Error(`${adapter} has no head: train it with one, PEFT by task_type="SEQ_CLS"`);
}

async function writeWeights(
  gpu: Gpu,
  folder: string,
  encoder: Model,
  saved: SavedAdapter,
  head: ReadonlyMap<string, Weight>,
  path: string,
): Promise<void> {
  const { prefix } = await readEncoderConfig(folder);
  const places = await readTensorPlaces(folder);
  const trunk = trunkNames(prefix, [...places.keys()]);
  using own = new FrozenWeights(gpu, new Map([...constantWeights(encoder, saved.adapter), ...saved.weights]));
  const changes = changesOf(gpu, encoder, saved, own);
  const { module } = encoder.head;
  const ofBase = [...places].filter(([name]) => !name.startsWith(`${module}.`)).map(([name, place]) => {
    const inTrunk = trunk.get(name);
    const change = changes.get(`${prefix}.${inTrunk}`);
    const isBare = inTrunk !== undefined && !name.startsWith(`${prefix}.`);
    const source = change ? valuesAs(place, change) : { ...place, pieces: () => bytesAt(place) };
    return isBare ? { ...source, name: `${prefix}.${name}` } : source;
  });
  // The head, and a pooler that the base lacks, get the dtype of the adapted layers.
  const layer = `${saved.adapter.modules[0].module.path}.weight`;
  const { dtype } = places.get([...trunk.keys()].find((name) => `${prefix}.${trunk.get(name)}` === layer)!)!;
  const { fresh = [] } = encoder;
  const lacking = [...saved.weights].filter(([name]) => fresh.includes(moduleOf(name)));
  const ofHead = [...lacking, ...head].map(([name, { shape, data }]) =>
    valuesAs({ name, dtype, shape }, () => Promise.resolve(data))
  );
  await writeTensors(path, [...ofBase, ...ofHead], noteOf(encoder, saved));
}

/** The note that keeps the adapter from being applied a second time. */
function noteOf(base: Model, { weights }: SavedAdapter): Record<string, string> {
  return { [mergedKey]: mergedText(mergedWith(base, weights)) };
}

/** A tensor to write, with computed values. */
function valuesAs({ name, dtype, shape }: Omit<TensorSource, "pieces">, values: NewValues): TensorSource {
  return {
    name,
    dtype,
    shape,
    async *pieces() {
      yield fromFloat32(name, dtype, await values());
    },
  };
}
