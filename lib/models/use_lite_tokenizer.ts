/** USE-lite's SentencePiece-unigram tokenizer, from the package's vocabulary. */

import * as v from "npm:valibot@1.5.0";
import type { Tokenizer } from "./model.ts";
import { textEncoding, tokenizerSchema } from "./text_encoder.ts";

/**
 * Pieces with their logarithms of probability. The package has null for seven, such as ":", which it and TensorFlow.js add to a
 * sum as if it were 0.
 */
type Vocabulary = readonly (readonly [string, number | null])[];

/**
 * NFKC, spaces to ▁ with a leading one, then the most probable segmentation; a piece's id is its place in the vocabulary. White
 * space around the text goes first. Text without a known piece is a single unknown (0).
 */
export function useLiteTokenizer(vocabulary: Vocabulary, most: number): Tokenizer {
  const encoding = textEncoding(v.parse(tokenizerSchema, useLiteDescription(vocabulary)));
  return {
    encode(text, maxTokens = most) {
      const ids = encoding.encode(text, maxTokens);
      return ids.length > 0 ? ids : [0];
    },
  };
}

/** The tokenizer as a `tokenizer.json`. */
function useLiteDescription(vocabulary: Vocabulary) {
  return {
    normalizer: {
      type: "Sequence",
      normalizers: [{ type: "Strip", strip_left: true, strip_right: true }, { type: "NFKC" }],
    },
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: false },
    model: { type: "Unigram", unk_id: 0, vocab: vocabulary.map(([piece, score]) => [piece, score ?? 0]) },
  };
}
