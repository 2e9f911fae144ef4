/**
 * Loads encoders from folders in the format of transformers' `save_pretrained` or of sentence-transformers, from packaged models
 * that were fetched, or from the Hugging Face hub.
 */

import { streamOf, uniform } from "../graph/random.ts";
import { poolerLayer, tokenTable, weightShapes } from "./bert.ts";
import type { HubOptions } from "./hub.ts";
import { type EncoderConfig, readEncoderConfig } from "./hugging_face_config.ts";
import { readTokenizer } from "./hugging_face_tokenizer.ts";
import { readMergedAdapters, readTensorPlaces } from "./hugging_face_weights.ts";
import { locateModel } from "./locate_model.ts";
import type { Model, Tokenizer, Weight } from "./model.ts";
import { joinedPairs } from "./pairing.ts";
import type { TensorPlace } from "./safetensors.ts";
import { StoredWeight, tableParts } from "./stored_weight.ts";
import { configuredEncoder } from "./unloaded_encoder.ts";
import { PassingDigest } from "./values_digest.ts";

/**
 * Loads a text encoder from the folder `source` or, if there is no such folder, by its id: `minilm`, which
 * `deno task models minilm` fetches, or an id of the Hugging Face hub, such as `FacebookAI/roberta-base` (see
 * `HubOptions` for the cache). Supported are the model types
 * roberta, xlm-roberta and bert (which includes MiniLM). The folder must contain `config.json`,
 * `model.safetensors` or its shards (F32, F16, BF16 or F64, all read as float32), and a tokenizer:
 * `tokenizer.json`, `vocab.json` with `merges.txt`, or `vocab.txt`. The encoder's name is the folder's name
 * or the id.
 *
 * Weights are read from disk when they are needed, one at a time: do not change the files while the encoder
 * is in use. A pair of texts is encoded as one sequence. The head is that of transformers'
 * `…ForSequenceClassification`: dense, tanh and projection for RoBERTa; a projection on the pooler's output
 * for BERT. A head in the checkpoint is ignored.
 *
 * A folder of sentence-transformers (`modules.json`, `1_Pooling/config.json`) says itself what a text's vector
 * is: the mean over its tokens, those of a pair's two texts included, or the first token's. The pooler is then
 * not part of the model, and the head is a linear layer `head` on that vector. The vector is not scaled to
 * length 1, also where the folder lists `Normalize`: a head learns its own scale.
 *
 * If a BERT checkpoint lacks its pooler, the pooler is newly initialised, as in transformers, and `report`
 * receives a one-line warning. It is then trained and saved with every adapter (see `Model.fresh`).
 *
 * @throws Error that names the file and the field or tensor that is missing, malformed, or does not have the
 * shape that `config.json` implies, for a GGUF file, and for an option that there is not.
 */
export async function loadEncoder(
  source: string,
  hub: HubOptions = {},
  report: (line: string) => void = console.warn,
): Promise<Model> {
  const { path, name, hubId } = await locateModel(source, hub);
  if (path.endsWith(".gguf")) {
    throw new Error(`${path} is a GGUF file, of which only decoders are read: use loadDecoder`);
  }
  return { ...await readEncoder(path, name, report), hubId };
}

/** Reads the encoder in `folder` and gives it `name`. */
async function readEncoder(
  folder: string,
  name: string,
  report: (line: string) => void,
): Promise<Model> {
  const config = await readEncoderConfig(folder);
  const stored = storedWeights(folder, config, await readTensorPlaces(folder));
  const drawn = drawnPooler(config, stored);
  const fresh = drawn.size > 0 ? [`${config.prefix}.${poolerLayer}`] : [];
  if (fresh.length > 0) {
    report(
      `${folder}: the checkpoint was saved without its pooler: ${fresh} is drawn anew, and trained and saved with every adapter`,
    );
  }
  const marked = await readTokenizer(folder);
  if (marked.largestId >= config.vocabulary) {
    throw new Error(
      `${folder}: its tokenizer has a token ${marked.largestId}, and vocab_size in config.json is ${config.vocabulary}: ` +
        `these are of different models`,
    );
  }
  const configured = configuredEncoder(name, config);
  const { maxTokens } = configured;
  const tokenizer: Tokenizer = {
    encode: (text, most = maxTokens) => marked.encode(text, Math.min(most, maxTokens)),
  };
  return {
    ...configured,
    fresh,
    merged: await readMergedAdapters(folder),
    weights: new Map([...stored, ...drawn]),
    tokenizer,
    pairing: joinedPairs(tokenizer, (first, second, most) => {
      const pair = marked.encodePair(first, second, Math.min(most, maxTokens));
      return marked.typesPairs && config.typedPairs && config.types > 1 ? pair : { ids: pair.ids };
    }),
  };
}

/**
 * The trunk's weights in the checkpoint, by their names in a model with a head. Only the pooler's may be
 * missing.
 */
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

/** Explains why a checkpoint with these tensor names lacks some of its model's, and what to do. */
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
 * Initial weights of a pooler that the checkpoint lacks: random with transformers' standard deviation, and
 * zero biases. They depend only on names and shapes, so every load gives the same model.
 */
function drawnPooler(config: EncoderConfig, stored: ReadonlyMap<string, Weight>): Map<string, Weight> {
  const { prefix, width, pooler, initializerRange } = config;
  const [weight, bias] = poolerTensors.map((name) => `${prefix}.${name}`);
  if (!pooler || stored.has(weight)) return new Map();
  // Uniform values in (−√3σ, √3σ) have standard deviation σ.
  const values = uniform(0, streamOf(weight), width * width, Math.sqrt(3) * initializerRange);
  return new Map([
    [weight, { shape: [width, width], data: values }],
    [bias, { shape: [width], data: new Float32Array(width) }],
  ]);
}

/** The weight under its name, or the parts of a large table under theirs. */
function storedAs(name: string, place: TensorPlace, isTable: boolean): [string, Weight][] {
  if (!isTable) return [[name, new StoredWeight(place)]];
  const digest = new PassingDigest(place.shape[0] * place.shape[1]);
  return tableParts(name, place.shape).map((
    part,
  ) => [part.name, new StoredWeight(place, [part.from, part.to], digest)]);
}

/** The trunk's tensors, by name without the prefix. */
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
 * Maps the trunk's tensor names in the file to their current names in transformers, without the prefix. Older
 * checkpoints use `gamma` and `beta` for LayerNorm's weight and bias; a bare trunk has no prefix.
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
