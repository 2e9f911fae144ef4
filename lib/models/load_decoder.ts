/** Loads causal decoders from folders of transformers, from GGUF files, from packaged models, or from the Hugging Face hub. */

import { isFolder } from "../files.ts";
import { checkOptionNames } from "../option_names.ts";
import type { WritablePacking } from "../graph/storages/registry.ts";
import { type ChatTemplates, ggufChatTemplates, readChatTemplates } from "./chat_template.ts";
import {
  type DecoderConfig,
  decoderConfigOfGguf,
  normOffsetInFolders,
  readDecoderConfig,
} from "./decoder_config.ts";
import { packingFor, partsFor } from "./decoder_storage.ts";
import { type DecoderTokenizer, readDecoderTokenizer } from "./decoder_tokenizer.ts";
import type { GgufPlace } from "./gguf/header.ts";
import { packingOf } from "./gguf/dtypes.ts";
import { huggingFacePlaces, ropeDivisors } from "./gguf/hugging_face_places.ts";
import { isPackable, type PackedPlace, StoredPackedWeight } from "./gguf/packed_weight.ts";
import { readGguf } from "./gguf/split_set.ts";
import { ggufTokenizer } from "./gguf_tokenizer.ts";
import type { HubOptions } from "./hub.ts";
import { readMergedAdapters, readTensorPlaces } from "./hugging_face_weights.ts";
import { decoderShapes, embeddingTable, headTable } from "./llama.ts";
import { locateModel } from "./locate_model.ts";
import { type MergedAdapter, mergedFrom, mergedKey } from "./merged_adapters.ts";
import type { Decoder, Weight } from "./model.ts";
import { PackedOnTheWay } from "./packed_on_the_way.ts";
import type { PackedWeight } from "./packing.ts";
import type { TensorPlace } from "./safetensors.ts";
import { sizeOf } from "./stored_place.ts";
import { haveEqualBytes, StoredWeight } from "./stored_weight.ts";
import { configuredDecoder } from "./unloaded_decoder.ts";
import { PassingDigest } from "./values_digest.ts";

/** Options of `loadDecoder`. */
export interface DecoderOptions {
  /** The longest text in tokens; by default what the model is made for, up to 8,192. */
  readonly maxTokens?: number;
  /**
   * Whether blocks of a GGUF file are unpacked to float32, which takes more memory, and which methods that compute with the
   * base's values need (DoRA, HiRA, full fine-tuning). False by default: they stay blocks on the GPU.
   */
  readonly unpack?: boolean;
  /**
   * Packs matrices on their way to the GPU, one at a time; of a GGUF file together with `unpack`. The tables of embeddings get 8
   * bits where this has fewer (int8 beside int4, q8_0 beside q4 and q5), and stay dense where their shape does not allow it. Packed
   * weights are frozen: methods that compute with the base's values refuse them.
   */
  readonly packing?: WritablePacking;
  /** Where models of the hub are kept. */
  readonly hub?: HubOptions;
}

/** Their names. */
export const decoderOptionNames: readonly string[] = ["maxTokens", "unpack", "packing", "hub"];

/**
 * Loads a decoder from the folder or `.gguf` file `source` or, if there is none, by its id: `smollm2`, which `deno task models
 * smollm2` fetches, or an id of the Hugging Face hub. A folder holds `config.json`, `model.safetensors` or its shards (F32, F16,
 * BF16 or F64, read as float32) and `tokenizer.json`, of the model types llama, mistral, qwen2, qwen3 and gemma; a GGUF file, or
 * the first of a set, brings all of it along. Where there are no folders, as in a browser, take the `path` of `FilesInMemory`.
 * Weights go from the files to the GPU in pieces when they are needed: do not change the files while the model is in use.
 *
 * @throws Error that names the file and the field or tensor that is missing, malformed, not supported, or does not have the shape
 * that the configuration implies; and for an option that there is not.
 */
export async function loadDecoder(source: string, options: DecoderOptions = {}): Promise<Decoder> {
  checkOptionNames("loadDecoder", options, decoderOptionNames);
  const { path, name, hubId } = await locateModel(source, options.hub);
  const isGguf = !await isFolder(path);
  const { packing, unpack } = options;
  if (isGguf && packing && !unpack) {
    throw new Error(
      `${path}: its matrices are packed already: to pack them as ${packing}, unpack them as well`,
    );
  }
  const parts = isGguf ? await partsOfGguf(path) : await partsOfFolder(path);
  return { ...decoderOf(name, path, parts, options), hubId };
}

/** What a folder or a file holds. */
interface Parts {
  readonly config: DecoderConfig;
  readonly places: ReadonlyMap<string, TensorPlace> | ReadonlyMap<string, GgufPlace>;
  /** Whether matrices may stay in the file's blocks. */
  readonly inBlocks: boolean;
  readonly tokenizer: DecoderTokenizer;
  readonly templates: ChatTemplates | undefined;
  readonly merged: readonly MergedAdapter[];
}

async function partsOfFolder(folder: string): Promise<Parts> {
  const config = await readDecoderConfig(folder);
  const places = await readTensorPlaces(folder);
  if (config.tied) checkStoredHead(folder, places);
  return {
    ...{ inBlocks: false, config, places },
    tokenizer: await readDecoderTokenizer(folder),
    templates: await readChatTemplates(folder),
    merged: await readMergedAdapters(folder),
  };
}

/** Throws an Error where a tied model has a head other than its embeddings: transformers 5 takes that, and earlier ones did not. */
function checkStoredHead(folder: string, places: ReadonlyMap<string, TensorPlace>): void {
  const [table, head] = [embeddingTable, headTable].map((name) => places.get(name));
  if (!table || !head || haveEqualBytes(table, head)) return;
  throw new Error(
    `${folder}: by config.json the head is the table of embeddings, and the checkpoint has another "${headTable}": ` +
      "set tie_word_embeddings to false if that is meant, or take it out",
  );
}

async function partsOfGguf(path: string): Promise<Parts> {
  const model = await readGguf(path);
  const places = huggingFacePlaces(model);
  const divisors = places.get(ropeDivisors);
  const config = decoderConfigOfGguf(
    model.metadata,
    divisors && new StoredWeight(divisors).data,
    (name) => places.has(name),
  );
  const values = new Map([...model.metadata.values].map(([key, { value }]) => [key, value]));
  const tokenizer = ggufTokenizer(path, values);
  places.delete(ropeDivisors);
  return {
    ...{ inBlocks: true, config, places, tokenizer },
    templates: ggufChatTemplates(path, values, tokenizer),
    merged: mergedFrom(path, values.get(mergedKey)),
  };
}

function decoderOf(name: string, path: string, parts: Parts, options: DecoderOptions): Decoder {
  const { config, tokenizer, templates, merged } = parts;
  const { maxTokens = 1 } = options;
  if (!(Number.isInteger(maxTokens) && maxTokens >= 1 && maxTokens <= config.positions)) {
    throw new Error(`${path}: maxTokens is ${maxTokens}, and the model is made for 1 to ${config.positions}`);
  }
  if (tokenizer.size > config.vocabulary) {
    throw new Error(
      `${path}: its tokenizer has ${tokenizer.size} tokens, and the model ${config.vocabulary}: these are of different models`,
    );
  }
  const configured = configuredDecoder(name, config, { tokenizer, templates }, options.maxTokens);
  const normShift = normOffsetInFolders(config.type) - config.normOffset;
  return { ...configured, merged, normShift, ...weightsOf(path, parts, options) };
}

/** A model's weights, dense and packed. */
interface Weights {
  readonly weights: Map<string, Weight>;
  readonly packed?: Map<string, PackedWeight>;
}

/** The weights, as the options want them. Throws an Error for one that is missing, too many or of another shape. */
function weightsOf(path: string, { config, places, inBlocks }: Parts, options: DecoderOptions): Weights {
  const { unpack = false, packing } = options;
  const shapes = decoderShapes(config);
  const missing = [...shapes.keys()].find((name) => !places.has(name));
  if (missing) {
    throw new Error(`${path}: the checkpoint lacks "${missing}" of this ${config.type}: it is not whole`);
  }
  const beyond = [...places.keys()].find((name) => !shapes.has(name) && !isIgnored(name));
  if (beyond) {
    throw new Error(`${path}: the checkpoint has "${beyond}", which a ${config.type} does not have`);
  }
  const weights = new Map<string, Weight>();
  const packed = new Map<string, PackedWeight>();
  for (const [name, shape] of shapes) {
    const place = { ...places.get(name)!, name };
    if (place.shape.join() !== shape.join()) {
      throw new Error(
        `${place.origin}: "${name}" is [${place.shape}], and the configuration makes it [${shape}]`,
      );
    }
    const digest = new PassingDigest(sizeOf(place));
    const inFile = inBlocks && !unpack && shape.length === 2 && isPackable(place as GgufPlace);
    const own = inFile ? packingOf((place as PackedPlace).dtype) : packingFor(name, shape, packing);
    for (const { name: part, from, to } of partsFor(name, shape, own)) {
      const range = [from, to] as const;
      if (inFile) packed.set(part, new StoredPackedWeight(place as PackedPlace, range, digest));
      else {
        const values = new StoredWeight(place, range, digest);
        if (own) packed.set(part, new PackedOnTheWay(part, values, own as WritablePacking));
        else weights.set(part, values);
      }
    }
  }
  return packed.size > 0 ? { weights, packed } : { weights };
}

/** Buffers of old checkpoints that are computed here, and a tied model's head. */
function isIgnored(name: string): boolean {
  return name.endsWith(".rotary_emb.inv_freq") || name === headTable;
}
