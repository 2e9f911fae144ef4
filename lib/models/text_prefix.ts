/** The space that SentencePiece's kind of tokenizer puts before a text, and its absence where a text goes on after another. */

import type { TokenizerDescription } from "./text_encoder.ts";

type Description = NonNullable<TokenizerDescription["normalizer"]>;

/** A `tokenizer.json` that puts nothing before a text. */
export function withoutPrefix(description: TokenizerDescription): TokenizerDescription {
  const { normalizer, pre_tokenizer } = description;
  return {
    ...description,
    normalizer: normalizer && unprefixed(normalizer),
    pre_tokenizer: pre_tokenizer && unprefixed(pre_tokenizer),
  };
}

/** A normalizer or pre-tokenizer without what it adds at the front. */
function unprefixed(part: Description): Description {
  const inside = (parts: unknown) => (parts as Description[]).map(unprefixed);
  if (part.type === "Prepend") return { ...part, prepend: "" };
  if (part.type === "Metaspace") return { ...part, prepend_scheme: "never", add_prefix_space: false };
  if (part.type === "ByteLevel") return { ...part, add_prefix_space: false };
  if (part.type !== "Sequence") return part;
  return "normalizers" in part
    ? { ...part, normalizers: inside(part.normalizers) }
    : { ...part, pretokenizers: inside(part.pretokenizers) };
}
