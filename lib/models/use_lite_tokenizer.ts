/** USE-lite's SentencePiece-unigram tokenizer, from the package's vocabulary. */

import { textEncoding, tokenizerSchema } from "./text_encoder.ts";
import * as v from "npm:valibot@1.5.0";

/** Turns text into rows of the embedding. */
export interface TextTokenizer {
  /** The first `maxTokens` ids, at least one; text without a known piece is a single unknown (0). */
  encode(text: string, maxTokens: number): number[];
}

/**
 * NFKC, spaces to ▁ with a leading one, then the most probable segmentation; a piece's id is its place in the vocabulary. White
 * space around the text goes first.
 */
export function useLiteTokenizer(vocabulary: [string, number][]): TextTokenizer {
  const encoding = textEncoding(v.parse(tokenizerSchema, useLiteDescription(vocabulary)));
  return {
    encode(text, maxTokens) {
      const ids = encoding.encode(text, maxTokens);
      return ids.length > 0 ? ids : [0];
    },
  };
}

/** The tokenizer as a `tokenizer.json`. */
export function useLiteDescription(vocabulary: [string, number][]) {
  return {
    normalizer: {
      type: "Sequence",
      normalizers: [{ type: "Strip", strip_left: true, strip_right: true }, { type: "NFKC" }],
    },
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: false },
    model: { type: "Unigram", unk_id: 0, vocab: vocabulary },
  };
}
