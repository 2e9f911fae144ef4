/** USE-lite's SentencePiece-unigram tokenizer, from a library and the package's vocabulary. */

import { makeTokenizer } from "./tokenizer_library.ts";

/** Turns text into rows of the embedding. */
export interface TextTokenizer {
  /** At least one id; text without a known piece is a single unknown (0). */
  encode(text: string): number[];
}

/** NFKC, spaces to ▁ with a leading one, then the most probable segmentation; a piece's id is its place in the vocabulary. */
export function useLiteTokenizer(vocabulary: [string, number][]): TextTokenizer {
  const tokenizer = makeTokenizer({
    version: "1.0",
    normalizer: { type: "NFKC" },
    pre_tokenizer: {
      type: "Metaspace",
      replacement: "▁",
      prepend_scheme: "always",
      add_prefix_space: true,
      split: false,
    },
    post_processor: null,
    decoder: null,
    added_tokens: [],
    truncation: null,
    padding: null,
    model: { type: "Unigram", unk_id: 0, vocab: vocabulary },
  });
  return {
    encode(text) {
      const { ids } = tokenizer.encode(text.trim());
      return ids.length > 0 ? ids : [0];
    },
  };
}
