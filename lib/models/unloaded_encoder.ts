/**
 * Encoders for dry runs, built from a configuration or from shapes alone: no weights are read, and no
 * tokenizer.
 */

import { linearsOf, placesOf, poolerLayer, tokenTable, traceBert, weightShapes } from "./bert.ts";
import type { EncoderConfig } from "./hugging_face_config.ts";
import type { Model, Tokenizer } from "./model.ts";
import { joinedPairs } from "./pairing.ts";
import { tableParts } from "./stored_weight.ts";
import { unread } from "./unread_weight.ts";

/** Average number of characters of English text per subword token. */
export const charactersPerToken = 4.5;

/** Number of special tokens in a single text and in a pair (RoBERTa's four). */
const marks = { single: 2, pair: 4 };

/** The parts of an encoder that follow from its configuration: all except the weights and the tokenizer. */
export function configuredEncoder(
  name: string,
  config: EncoderConfig,
): Omit<Model, "weights" | "tokenizer" | "pairing"> & { readonly maxTokens: number } {
  const linears = linearsOf(config);
  return {
    name,
    constants: new Map(),
    linears,
    width: config.width,
    multiplyAddsPerToken: linears.filter(({ perText }) => !perText).reduce((sum, { m, n }) => sum + m * n, 0),
    vocabulary: config.vocabulary,
    maxTokens: config.positions - config.firstPosition,
    trunk: config.prefix,
    pooling: config.pooling,
    pooledByFolder: config.pooledByFolder,
    pooler: config.pooler ? `${config.prefix}.${poolerLayer}` : undefined,
    head: config.head,
    placesOf: (ids) => placesOf(config, ids),
    trace: (tracer, tokens) => traceBert(config, tracer, tokens),
  };
}

/**
 * The encoder of a configuration, with all weights zero. Its tokenizer only estimates the number of tokens
 * from the number of characters; all ids are 0.
 */
export function unloadedEncoder(name: string, config: EncoderConfig): Model {
  const shapes = [...weightShapes(config)].flatMap(([own, shape]): [string, readonly number[]][] => {
    const full = `${config.prefix}.${own}`;
    if (own !== tokenTable) return [[full, shape]];
    return tableParts(full, shape).map(({ name, from, to }) => [name, [to - from, ...shape.slice(1)]]);
  });
  const configured = configuredEncoder(name, config);
  const tokens = (characters: number, marks: number, most: number) => {
    const count = Math.ceil(characters / charactersPerToken) + marks;
    return Array<number>(Math.min(count, most, configured.maxTokens)).fill(0);
  };
  const tokenizer: Tokenizer = {
    encode: (text, most = Infinity) => tokens(text.length, marks.single, most),
  };
  return {
    ...configured,
    weights: new Map(shapes.map(([name, shape]) => [name, unread(shape)])),
    tokenizer,
    pairing: joinedPairs(tokenizer, (a, b, most) => ({ ids: tokens(a.length + b.length, marks.pair, most) })),
  };
}
