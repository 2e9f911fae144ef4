/** Encoders from folders as transformers' `save_pretrained` writes them, or from the hub. */

import { streamOf, uniform } from "../graph/random.ts";
import { poolerLayer, tokenTable, weightShapes } from "./bert.ts";
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
 * A BERT that was saved without its pooler gets a fresh one, as in transformers, and `report` is told so in a line; it is trained
 * and saved with every adapter (see `Encoder.fresh`).
 *
 * @throws Error naming the file, the field or the tensor that is missing, malformed or of another shape than `config.json` says.
 */
export async function loadEncoder(
  source: string,
  hub: HubOptions = {},
  report: (line: string) => void = console.warn,
): Promise<Encoder> {
  const { folder, name } = await locateEncoder(source, hub);
  return await readEncoder(folder, name, report);
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
async function readEncoder(
  folder: string,
  name: string,
  report: (line: string) => void,
): Promise<Encoder> {
  const config = await readEncoderConfig(`${folder}/config.json`);
  const stored = storedWeights(folder, config, await readTensorPlaces(folder));
  const drawn = drawnPooler(config, stored);
  const fresh = drawn.size > 0 ? [`${config.prefix}.${poolerLayer}`] : [];
  if (fresh.length > 0) {
    report(
      `${folder}: the checkpoint was saved without its pooler: ${fresh} is drawn anew, and trained and saved with every adapter`,
    );
  }
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
    fresh,
    weights: new Map([...stored, ...drawn]),
    tokenize: (text, most = maxTokens) => tokenizer.encode(text, Math.min(most, maxTokens)),
    tokenizePair(first, second, most) {
      const pair = tokenizer.encodePair(first, second, Math.min(most, maxTokens));
      return config.typedPairs && config.types > 1 ? pair : { ids: pair.ids };
    },
  };
}

/** Every weight of the trunk that the checkpoint has, by its name in a model with a head: all, but perhaps for the pooler's. */
function storedWeights(
  folder: string,
  config: EncoderConfig,
  places: ReadonlyMap<string, TensorPlace>,
): Map<string, Weight> {
  const { prefix, layers } = config;
  const trunk = trunkOf(prefix, places);
  const shapes = weightShapes(config);
  const missing = [...shapes.keys()].filter((name) => !trunk.has(name));
  const isWithoutPooler = missing.join() === poolerTensors.join();
  if (missing.length > 0 && !isWithoutPooler) {
    const what = missing.length === 1 ? "1 tensor" : `${missing.length} tensors`;
    throw new Error(
      `${folder}: the checkpoint lacks ${what} of this ${prefix} model, such as "${prefix}.${missing[0]}": ` +
        reasonOf(prefix, [...places.keys()]),
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
    const place = trunk.get(name);
    if (!place) return [];
    checkPlace(place, shape);
    return storedAs(`${prefix}.${name}`, place, name === tokenTable);
  }));
}

const poolerTensors = [`${poolerLayer}.weight`, `${poolerLayer}.bias`];

/** Why a checkpoint with tensors of these names lacks some of its model's, and what to do. */
function reasonOf(prefix: string, names: readonly string[]): string {
  const table = names.find((name) => name.endsWith(`.${tokenTable}`));
  const before = table?.slice(0, -tokenTable.length);
  if (before && before !== `${prefix}.`) {
    return `the names in the file begin with "${before}" rather than "${prefix}.": ${
      before.startsWith("module.")
        ? "it was saved from inside DataParallel; save model.module, by save_pretrained"
        : "config.json is of another model, or the model was saved from inside another; save it by itself, by save_pretrained"
    }`;
  }
  return "config.json is of another model, or the checkpoint is not whole: download or save it again";
}

/**
 * The pooler's weights where the checkpoint has none: as widely spread as transformers', the biases 0. They depend on nothing but
 * their names and shapes, so that every load gives the same model.
 */
function drawnPooler(config: EncoderConfig, stored: ReadonlyMap<string, Weight>): Map<string, Weight> {
  const { prefix, width, pooler, initializerRange } = config;
  const [weight, bias] = poolerTensors.map((name) => `${prefix}.${name}`);
  if (!pooler || stored.has(weight)) return new Map();
  // Uniform numbers in (−√3σ, √3σ) have the standard deviation σ.
  const values = uniform(0, streamOf(weight), width * width, Math.sqrt(3) * initializerRange);
  return new Map([
    [weight, { shape: [width, width], data: values }],
    [bias, { shape: [width], data: new Float32Array(width) }],
  ]);
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
  const [own, both] = [...Map.groupBy(names, ([, own]) => own)].find(([, both]) => both.length > 1) ?? [];
  if (own && both) {
    throw new Error(
      `${places.get(both[0][0])!.origin}: "${both[0][0]}" and "${
        both[1][0]
      }" are both "${own}": take one of them out`,
    );
  }
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
