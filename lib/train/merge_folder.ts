/** An encoder's folder with an adapter and its head merged in, as transformers loads it without PEFT. */

import { checkMergeable } from "../adapters/merge.ts";
import { moduleOf } from "../adapters/names.ts";
import { loadAdapter, type SavedAdapter } from "../adapters/peft.ts";
import { methods } from "../adapters/registry.ts";
import { constantWeights } from "../adapters/starting_weights.ts";
import type { Gpu } from "../gpu/device.ts";
import { readEncoderConfig } from "../models/hugging_face_config.ts";
import { readTensorPlaces } from "../models/hugging_face_weights.ts";
import { isFile, refuseExisting, writeFolder, writeWhole } from "../files.ts";
import { loadEncoder, locateEncoder, trunkNames } from "../models/load_encoder.ts";
import { type Encoder, headLayoutOf, type Weight } from "../models/model.ts";
import { fromFloat32 } from "../models/safetensors.ts";
import { bytesAt, type TensorSource, writeTensors } from "../models/safetensors_writer.ts";
import { mergedConfig } from "./merge_config.ts";
import { mergedWeight } from "./merge_weight.ts";
import { FrozenWeights } from "./weights.ts";

/** What tokenizers are made of, in transformers' folders. */
const tokenizerFiles = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "vocab.txt",
  "sentencepiece.bpe.model",
];

/**
 * Merges the adapter of the folder `adapter` into the encoder `model` (a folder or a hub's id) and writes `out`, a folder that
 * transformers loads as `…ForSequenceClassification`: the tokenizer's files, `config.json` (see `mergedConfig`), and
 * `model.safetensors` with the base's tensors under their names and in their dtypes. Adapted weights are computed in float32 and
 * rounded to their dtype, as is the head; all other bytes are the base's. A bare trunk's names get the prefix they have in a model
 * with a head. Tensors go from file to file one at a time.
 *
 * `out` is written beside and renamed. `report` is told what `loadAdapter` tells it of the base.
 * @throws Error, leaving no `out`, when it exists, the method cannot be merged, the adapter has no head, and what `loadEncoder`
 * and `loadAdapter` throw.
 */
export async function writeMergedModel(
  gpu: Gpu,
  model: string,
  adapter: string,
  out: string,
  report?: (line: string) => void,
): Promise<void> {
  await refuseExisting(out);
  const { folder } = await locateEncoder(model);
  const encoder = await loadEncoder(model, undefined, report);
  const saved = await loadAdapter(adapter, encoder, methods, report);
  checkMergeable(saved.adapter.method);
  const head = headOf(encoder, saved, adapter);
  const [outputs] = head.get(`${headLayoutOf(encoder).projection}.weight`)!.shape;
  const config = await mergedConfig(folder, adapter, outputs);
  await writeFolder(out, async (part) => {
    await writeWhole(`${part}/config.json`, config);
    for (const name of tokenizerFiles) {
      if (await isFile(`${folder}/${name}`)) await Deno.copyFile(`${folder}/${name}`, `${part}/${name}`);
    }
    await writeWeights(gpu, folder, encoder, saved, head, `${part}/model.safetensors`);
  });
}

/** The trained head's tensors, by their names in a checkpoint. */
function headOf(encoder: Encoder, { weights }: SavedAdapter, adapter: string): Map<string, Weight> {
  const { module } = headLayoutOf(encoder);
  const head = [...weights].filter(([name]) => name.startsWith(`${module}.`));
  if (head.length > 0) return new Map(head);
  throw new Error(`${adapter} has no head: train it with one, PEFT by task_type="SEQ_CLS"`);
}

async function writeWeights(
  gpu: Gpu,
  folder: string,
  encoder: Encoder,
  saved: SavedAdapter,
  head: ReadonlyMap<string, Weight>,
  path: string,
): Promise<void> {
  const { prefix } = await readEncoderConfig(`${folder}/config.json`);
  const places = await readTensorPlaces(folder);
  const trunk = trunkNames(prefix, [...places.keys()]);
  using own = new FrozenWeights(gpu, new Map([...constantWeights(encoder, saved.adapter), ...saved.weights]));
  const changes = changesOf(gpu, encoder, saved, own);
  const { module } = headLayoutOf(encoder);
  const ofBase = [...places].filter(([name]) => !name.startsWith(`${module}.`)).map(([name, place]) => {
    const inTrunk = trunk.get(name);
    const change = changes.get(`${prefix}.${inTrunk}`);
    const isBare = inTrunk !== undefined && !name.startsWith(`${prefix}.`);
    const source = change ? valuesAs(place, change) : { ...place, pieces: () => bytesAt(place) };
    return isBare ? { ...source, name: `${prefix}.${name}` } : source;
  });
  // The head, and a pooler that the base lacks, are stored as the layers under them are.
  const layer = `${saved.adapter.modules[0].module.path}.weight`;
  const { dtype } = places.get([...trunk.keys()].find((name) => `${prefix}.${trunk.get(name)}` === layer)!)!;
  const { fresh = [] } = encoder;
  const lacking = [...saved.weights].filter(([name]) => fresh.includes(moduleOf(name)));
  const ofHead = [...lacking, ...head].map(([name, { shape, data }]) =>
    valuesAs({ name, dtype, shape }, () => Promise.resolve(data))
  );
  await writeTensors(path, [...ofBase, ...ofHead]);
}

/** The values that a tensor gets. */
type NewValues = () => Promise<Float32Array<ArrayBuffer>>;

/** What becomes of the base's weights that the adapter changes, by name; each is computed when it is asked for. */
function changesOf(
  gpu: Gpu,
  encoder: Encoder,
  { adapter, weights }: SavedAdapter,
  own: FrozenWeights,
): Map<string, NewValues> {
  const trained = [...adapter.trainedBase].map((name): [string, NewValues] => [
    name,
    () => Promise.resolve(weights.get(name)!.data),
  ]);
  const merged = adapter.modules.map((adapted): [string, NewValues] => {
    const name = `${adapted.module.path}.weight`;
    return [name, async () => {
      // A method that merges as it goes has the weight it arrived at among its own.
      using base = new FrozenWeights(gpu, own.view(name) ? [] : [[name, encoder.weights.get(name)!]]);
      return await mergedWeight(gpu, adapter, adapted, (weight) => own.view(weight) ?? base.view(weight)!);
    }];
  });
  return new Map([...trained, ...merged]);
}

/** A tensor to be written with values of its own. */
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
