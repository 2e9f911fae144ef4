/** Decoders built from a configuration, for dry runs and for weights that are made instead of read. */

import type { WritablePacking } from "../graph/storages/registry.ts";
import type { DecoderConfig } from "./decoder_config.ts";
import { packingFor, partsFor } from "./decoder_storage.ts";
import type { DecoderTokenizer } from "./decoder_tokenizer.ts";
import { decoderConstants, decoderLinears, decoderShapes, outputTable, traceDecoder } from "./llama.ts";
import { type Decoder, type Language, plainHead, type Tokenizer, type Weight } from "./model.ts";
import type { PackedWeight } from "./packing.ts";
import { comparedPairs } from "./pairing.ts";
import { charactersPerToken } from "./unloaded_encoder.ts";
import { unread, UnreadPacked } from "./unread_weight.ts";
import { vectorTextIds } from "./vector_text.ts";

/** Longest texts unless asked otherwise: the angles of all positions are a table on the GPU. */
const usualTokens = 8192;

/** What a decoder reads and writes, as far as its files say. */
export type DecoderTexts = Pick<Language, "tokenizer" | "templates">;

/**
 * The parts of a decoder that follow from its configuration and its texts: all but the weights. By default `maxTokens` is what the
 * model is made for, up to 8,192.
 */
export function configuredDecoder(
  name: string,
  config: DecoderConfig,
  texts: DecoderTexts,
  maxTokens: number = Math.min(config.positions, usualTokens),
): Omit<Decoder, "weights" | "packed"> {
  const linears = decoderLinears(config);
  const tokenizer: Tokenizer = {
    encode: (text, most = maxTokens) => vectorTextIds(texts.tokenizer, text, Math.min(most, maxTokens)),
  };
  return {
    name,
    constants: decoderConstants(config, maxTokens),
    linears,
    width: config.width,
    multiplyAddsPerToken: linears.reduce((sum, { m, n }) => sum + m * n, 0),
    vocabulary: config.vocabulary,
    maxTokens,
    trunk: "model",
    pooling: "last",
    head: plainHead,
    tokenizer,
    pairing: comparedPairs(tokenizer),
    language: {
      ...texts,
      output: outputTable(config),
      cached: { layers: config.layers, width: config.kvHeads * config.headSize },
    },
    trace: (tracer, tokens) => traceDecoder(config, tracer, tokens),
  };
}

/** Weights that are made; both have no values by default. */
export interface MadeWeights {
  dense(name: string, shape: readonly number[]): Weight;
  packed(name: string, shape: readonly number[], packing: WritablePacking): PackedWeight;
}

const withoutValues: MadeWeights = {
  dense: (_, shape) => unread(shape),
  packed: (_, shape, packing) => new UnreadPacked(shape, packing),
};

/** Options of `unloadedDecoder`; see `DecoderOptions`. */
export interface UnloadedOptions {
  readonly maxTokens?: number;
  readonly packing?: WritablePacking;
  /** Makes the weights. */
  readonly weights?: MadeWeights;
}

/**
 * The decoder of a configuration, stored as `loadDecoder` stores it. Its tokenizer only estimates the number of tokens from the
 * number of characters; all ids are 0, and no id has a text.
 */
export function unloadedDecoder(
  name: string,
  config: DecoderConfig,
  { maxTokens, packing: asked, weights: made = withoutValues }: UnloadedOptions = {},
): Decoder {
  const weights = new Map<string, Weight>();
  const packed = new Map<string, PackedWeight>();
  for (const [own, shape] of decoderShapes(config)) {
    const packing = packingFor(own, shape, asked);
    for (const { name: part, from, to } of partsFor(own, shape, packing)) {
      const partShape = [to - from, ...shape.slice(1)];
      if (packing) packed.set(part, made.packed(part, partShape, packing));
      else weights.set(part, made.dense(part, partShape));
    }
  }
  const texts = { tokenizer: estimatingTokenizer(config.vocabulary), templates: undefined };
  const configured = configuredDecoder(name, config, texts, maxTokens);
  return { ...configured, weights, packed: packed.size > 0 ? packed : undefined };
}

function estimatingTokenizer(size: number): DecoderTokenizer {
  return {
    size,
    unused: [],
    bos: undefined,
    eos: [],
    closing: [],
    cutsBeginning: false,
    endMark: 0,
    namedTokens: {},
    specialTokens: [],
    isSpecial: () => false,
    encode: (text) => Array<number>(Math.max(1, Math.ceil(text.length / charactersPerToken))).fill(0),
    decode: () => "",
    streamingDecoder: () => ({ push: () => "", end: () => "" }),
    lost: () => [],
  };
}
