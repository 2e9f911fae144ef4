/**
 * How byte-level tokenizers in GGUF files cut texts, by the name under `tokenizer.ggml.pre`: the patterns of the models' own
 * `tokenizer.json`, which llama.cpp (src/llama-vocab.cpp) has adapted to its engine.
 */

/** A way of cutting texts, and what goes with it. */
interface GgufPreTokenizer {
  /** As in a `tokenizer.json`. */
  readonly normalizer?: object;
  /** Steps of a `tokenizer.json`'s pre-tokenizer. */
  readonly patterns: readonly object[];
  /** A word that is a token is taken whole, whatever merges would make of it. */
  readonly ignoreMerges: boolean;
  /** Texts begin with the mark of beginning where the file does not say. */
  readonly addsBos: boolean;
}

const isolated = (pattern: string) => ({
  type: "Split",
  pattern: { Regex: pattern },
  behavior: "Isolated",
  invert: false,
});
/** Bytes into letters, after words were cut by another pattern. */
const bytes = { type: "ByteLevel", add_prefix_space: false, use_regex: false };
/** GPT-2's words, in bytes. */
const gpt2 = { type: "ByteLevel", add_prefix_space: false, use_regex: true };

/** LLaMA 3's words, with so many digits to a number. */
const words = (digits: string) =>
  isolated(
    String
      .raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  );
const tekken = isolated(
  String
    .raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
);
const llama3 = words(String.raw`\p{N}{1,3}`);

/** The ways that are known, by name. */
export const preTokenizers: Readonly<Record<string, GgufPreTokenizer>> = {
  "gpt-2": { patterns: [gpt2], ignoreMerges: false, addsBos: false },
  "llama-bpe": { patterns: [llama3, bytes], ignoreMerges: true, addsBos: true },
  // The files' models compose characters first, which llama.cpp leaves out.
  qwen2: {
    normalizer: { type: "NFC" },
    patterns: [words(String.raw`\p{N}`), bytes],
    ignoreMerges: false,
    addsBos: false,
  },
  "smaug-bpe": { patterns: [llama3, bytes], ignoreMerges: false, addsBos: false },
  smollm: {
    patterns: [{ type: "Digits", individual_digits: true }, gpt2],
    ignoreMerges: false,
    addsBos: false,
  },
  tekken: { patterns: [tekken, bytes], ignoreMerges: true, addsBos: true },
  default: {
    patterns: [
      isolated(String.raw`[\p{P}\$\+<=>\^~\|]+`),
      isolated(String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`),
      isolated(String.raw`\p{N}+`),
      isolated("[0-9][0-9][0-9]"),
      bytes,
    ],
    ignoreMerges: false,
    addsBos: false,
  },
};
