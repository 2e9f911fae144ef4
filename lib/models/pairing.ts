/** How a model reads examples of several texts: joined into one sequence, or apart, with their vectors compared. */

import type { Tensor } from "../graph/graph.ts";
import { compareFeatures } from "../graph/ops/compare_features.ts";
import type { Sequence, Tokenizer } from "./model.ts";

/**
 * From an example's texts to sequences, and from their vectors to what a head reads. Texts are one text, two, or a question
 * and its options.
 */
export interface Pairing {
  /** The sequences of an example of this many texts. */
  sequencesOf(texts: number): number;
  /** Encodes an example's texts, each sequence with at most `maxTokens` tokens. */
  encode(texts: readonly string[], maxTokens: number): Sequence[];
  /** Where in a batch of `examples` sequence `t` of example `row` lies, with `sequences` an example. */
  placeOf(row: number, t: number, examples: number, sequences: number): number;
  /** Size of a row of `features`, in vectors. */
  vectorsOf(texts: number): number;
  /** Vectors of all sequences → a row for each example, or for each option of each example. */
  features(vectors: Tensor, texts: number): Tensor;
}

/** Joins the first text with each of the others: the two of a pair, a question with each of its options. */
export function joinedPairs(
  tokenizer: Tokenizer,
  encodePair: (first: string, second: string, maxTokens: number) => Sequence,
): Pairing {
  return {
    sequencesOf: (texts) => Math.max(texts - 1, 1),
    encode: ([first, ...others], maxTokens) =>
      others.length === 0
        ? [{ ids: tokenizer.encode(first, maxTokens) }]
        : others.map((other) => encodePair(first, other, maxTokens)),
    placeOf: (row, t, _, sequences) => row * sequences + t,
    vectorsOf: () => 1,
    features: (vectors) => vectors,
  };
}

/**
 * A sequence a text. The first text's vector is compared with each of the others' (see `compareFeatures`, which wants the first
 * ones of all examples before the others).
 */
export function comparedPairs(tokenizer: Tokenizer): Pairing {
  return {
    sequencesOf: (texts) => texts,
    encode: (texts, maxTokens) => texts.map((text) => ({ ids: tokenizer.encode(text, maxTokens) })),
    placeOf: (row, t, examples, sequences) => t === 0 ? row : examples + row * (sequences - 1) + t - 1,
    vectorsOf: (texts) => texts > 1 ? 4 : 1,
    features: (vectors, texts) => texts > 1 ? compareFeatures(vectors, texts - 1) : vectors,
  };
}
