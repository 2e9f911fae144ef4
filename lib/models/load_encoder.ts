/** Encoders from folders as transformers' `save_pretrained` writes them, or from the hub. */

import { tokenTable, weightShapes } from "./bert.ts";
import type { HubOptions } from "./hub.ts";
import { type EncoderConfig, readEncoderConfig } from "./hugging_face_config.ts";
import { readTokenizer } from "./hugging_face_tokenizer.ts";
import { readTensorPlaces } from "./hugging_face_weights.ts";
import { isFolder } from "../files.ts";
import type { Encoder, Weight } from "./model.ts";
import type { TensorPlace } from "./safetensors.ts";
import { StoredWeight, tableParts } from "./stored_weight.ts";
import { configuredEncoder } from "./unloaded_encoder.ts";
import { PassingDigest } from "./values_digest.ts";

/**
 * Loads the encoder in the folder `source`, or, where there is no such folder, the hub's model of this id (see
 * `downloadModel`): `config.json` (`model_type` roberta, xlm-roberta or bert, MiniLM among these),
 * `model.safetensors` or its shards (F32, F16, BF16 or F64, all read as float32), and a tokenizer (see `readTokenizer`). Its
 * name is the folder's own, or the id.
 *
 * Weights stay in their files until they are asked for, one at a time: keep the files as they are while the encoder is used.
 * Pairs of texts are one sequence, and the head is that of `…ForSequenceClassification`: dense, tanh and projection for
 * RoBERTa, a projection after the trunk's own pooler for BERT. A head in the checkpoint is not read.
 *
 * @throws Error naming the file, the field or the tensor that is missing, malformed or of another shape than `config.json` says.
 */
export async function loadEncoder(source: string, hub: HubOptions = {}): Promise<Encoder> {
  const { folder, name } = await locateEncoder(source, hub);
  return await readEncoder(folder, name);
}

/**
 * Where the files of the encoder `source` lie, after its download if need be, and the name it goes by.
 * @throws what `downloadModel` throws, and Error when `source` is no folder and no hub's id.
 */
export async function locateEncoder(
  source: string,
  hub: HubOptions = {},
): Promise<{ readonly folder: string; readonly name: string }> {
  if (await isFolder(source)) {
    const name = source.split(/[/\\]/).findLast((part) => part !== "");
    return { folder: source, name: name ?? source };
  }
  const { downloadModel, isHubId } = await import("./hub.ts");
  if (!isHubId(source)) {
    throw new Error(`there is no folder ${source}, and no model of the hub can have this name`);
  }
  return { folder: await downloadModel(source, hub), name: source };
}

/** Reads the encoder in `folder` under a name. */
async function readEncoder(folder: string, name: string): Promise<Encoder> {
  const config = await readEncoderConfig(`${folder}/config.json`);
  const weights = storedWeights(folder, config, await readTensorPlaces(folder));
  const tokenizer = await readTokenizer(folder);
  if (tokenizer.largestId >= config.vocabulary) {
    throw new Error(
      `${folder}: its tokenizer has a token ${tokenizer.largestId}, and vocab_size in config.json is ${config.vocabulary}: ` +
        `these are of different models`,
    );
  }
  const configured = configuredEncoder(name, config);
  const { maxTokens } = configured;
  return {
    ...configured,
    weights,
    tokenize: (text, most = maxTokens) => tokenizer.encode(text, Math.min(most, maxTokens)),
    tokenizePair(first, second, most) {
      const pair = tokenizer.encodePair(first, second, Math.min(most, maxTokens));
      return config.typedPairs && config.types > 1 ? pair : { ids: pair.ids };
    },
  };
}

/** Every weight of the trunk, by its name in a model with a head. */
function storedWeights(
  folder: string,
  config: EncoderConfig,
  places: ReadonlyMap<string, TensorPlace>,
): Map<string, Weight> {
  const { prefix, layers } = config;
  const trunk = trunkOf(prefix, places);
  const shapes = weightShapes(config);
  const missing = [...shapes.keys()].filter((name) => !trunk.has(name));
  if (missing.length > 0) {
    throw new Error(
      `${folder}: the checkpoint lacks ${missing.length} tensors of this ${prefix} model, such as "${prefix}.${
        missing[0]
      }": ` +
        `config.json is of another model, or the checkpoint is not whole`,
    );
  }
  const beyond = [...trunk.keys()].find((name) =>
    Number(name.match(/^encoder\.layer\.(\d+)\./)?.[1]) >= layers
  );
  if (beyond) {
    throw new Error(
      `${folder}: the checkpoint has "${beyond}", and num_hidden_layers in config.json is ${layers}`,
    );
  }
  return new Map([...shapes].flatMap(([name, shape]) => {
    const place = trunk.get(name)!;
    checkPlace(place, shape);
    return storedAs(`${prefix}.${name}`, place, name === tokenTable);
  }));
}

/** A tensor under its name, or a table's parts under theirs. */
function storedAs(name: string, place: TensorPlace, isTable: boolean): [string, Weight][] {
  if (!isTable) return [[name, new StoredWeight(place)]];
  const digest = new PassingDigest(place.shape[0] * place.shape[1]);
  return tableParts(name, place.shape).map((
    part,
  ) => [part.name, new StoredWeight(place, [part.from, part.to], digest)]);
}

/** The trunk's tensors by their names without the prefix. */
function trunkOf(prefix: string, places: ReadonlyMap<string, TensorPlace>): Map<string, TensorPlace> {
  const names = [...trunkNames(prefix, [...places.keys()])];
  return new Map(names.map(([name, own]) => [own, places.get(name)!]));
}

/**
 * Of a checkpoint's tensors those of the trunk: their names without the prefix, as transformers has them today, by those in
 * the file. Older checkpoints call a norm's two `gamma` and `beta`; a bare trunk's have no prefix.
 */
export function trunkNames(prefix: string, names: readonly string[]): Map<string, string> {
  const modern = (name: string) =>
    name.replace(/LayerNorm\.gamma$/, "LayerNorm.weight").replace(/LayerNorm\.beta$/, "LayerNorm.bias");
  const isPrefixed = names.some((name) => name.startsWith(`${prefix}.`));
  return new Map(
    names
      .filter((name) => !isPrefixed || name.startsWith(`${prefix}.`))
      .map((name) => [name, modern(isPrefixed ? name.slice(prefix.length + 1) : name)]),
  );
}

function checkPlace({ origin, name, shape, dtype }: TensorPlace, wanted: readonly number[]): void {
  if (shape.join() !== wanted.join()) {
    throw new Error(
      `${origin}: "${name}" is [${shape}], and config.json makes it [${wanted}]: one of them is of another model`,
    );
  }
  if (!["F32", "F16", "BF16", "F64"].includes(dtype)) {
    throw new Error(
      `${origin}: "${name}" is ${dtype}: save it as F32, F16 or BF16, such as by .float() in PyTorch`,
    );
  }
}
