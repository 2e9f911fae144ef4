/**
 * Tokenizers out of GGUF files' metadata (`tokenizer.ggml.*`; ggml-org/ggml docs/gguf.md), with what llama.cpp knows beside them:
 * the pattern that cuts texts, by the name under `pre`, and whether texts begin with a mark. Metadata that say neither are refused
 * instead of guessed at: llama.cpp goes on with a pattern that gives most such models wrong ids.
 */

import * as v from "npm:valibot@1.5.0";
import { fitting } from "../files.ts";
import { type DecoderTokenizer, decoderTokenizer, type DecoderTokenizerParts } from "./decoder_tokenizer.ts";
import { preTokenizers } from "./gguf_pre_tokenizers.ts";
import { scoredPairs } from "./scored_pairs.ts";
import { type TextEncoding, textEncoding, tokenizerSchema } from "./text_encoder.ts";

const id = v.pipe(v.union([v.number(), v.pipe(v.bigint(), v.transform(Number))]), v.integer(), v.minValue(0));
const strings = v.pipe(v.array(v.string()), v.minLength(1));
const numbers = v.custom<ArrayLike<number>>(
  (value) => Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView)),
  "write an array of numbers",
);

const key = {
  model: v.string(),
  pre: v.optional(v.string()),
  tokens: strings,
  scores: v.optional(numbers),
  token_type: numbers,
  merges: v.optional(strings),
  bos_token_id: v.optional(id),
  eos_token_id: v.optional(id),
  eot_token_id: v.optional(id),
  eom_token_id: v.optional(id),
  unknown_token_id: v.optional(id),
  padding_token_id: v.optional(id),
  add_bos_token: v.optional(v.boolean()),
  add_eos_token: v.optional(v.boolean(), false),
  add_space_prefix: v.optional(v.boolean()),
};
const metadataSchema = v.object(key);
type GgufVocabulary = v.InferOutput<typeof metadataSchema>;

/** Values of `token_type`. */
const tokenType = { unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 };

/** Control tokens that end a turn or text where files do not say so, as llama.cpp has it. */
const endingNames = [
  "<|eot_id|>",
  "<|eom_id|>",
  "<|im_end|>",
  "<|end|>",
  "<end_of_turn>",
  "<|endoftext|>",
  "<|end_of_text|>",
];

/**
 * The tokenizer of a GGUF file's metadata: of the models `gpt2` (byte-level pairs with a list of merges) and `llama` (SentencePiece
 * with scores). A control token is special, a user-defined one is found in every text, and an unused one is none: converters name so
 * what fills the model's table up to a round number.
 * @throws Error that begins with `path`, for another model, a `pre` that is not known or is missing, and a field that is missing
 * or malformed.
 */
export function ggufTokenizer(path: string, metadata: ReadonlyMap<string, unknown>): DecoderTokenizer {
  const found = Object.keys(key).map((name) => [name, metadata.get(`tokenizer.ggml.${name}`)]);
  const vocabulary = fitting(`${path}: tokenizer.ggml`, metadataSchema, Object.fromEntries(found));
  const { tokens, token_type, model } = vocabulary;
  if (token_type.length !== tokens.length) {
    throw new Error(
      `${path}: it has ${tokens.length} tokens and ${token_type.length} types of tokens: convert it again`,
    );
  }
  if (model === "gpt2") return decoderTokenizer(byteLevel(path, vocabulary));
  if (model === "llama") return decoderTokenizer(sentencePiece(path, vocabulary));
  throw new Error(
    `${path}: its tokenizer is of the model ${JSON.stringify(model)}: known are gpt2 and llama`,
  );
}

function byteLevel(path: string, vocabulary: GgufVocabulary): DecoderTokenizerParts {
  const { tokens, merges, pre } = vocabulary;
  const known = Object.keys(preTokenizers).join(", ");
  if (pre === undefined) {
    throw new Error(
      `${path} does not say how texts are cut (tokenizer.ggml.pre), as files before May 2024: convert the model again`,
    );
  }
  if (!Object.hasOwn(preTokenizers, pre)) {
    throw new Error(`${path} cuts texts by ${JSON.stringify(pre)} (tokenizer.ggml.pre): known are ${known}`);
  }
  if (merges === undefined) throw new Error(`${path} lacks tokenizer.ggml.merges: convert the model again`);
  const { normalizer = null, patterns, ignoreMerges, addsBos } = preTokenizers[pre];
  const description = v.parse(tokenizerSchema, {
    normalizer,
    pre_tokenizer: { type: "Sequence", pretokenizers: patterns },
    model: {
      type: "BPE",
      vocab: Object.fromEntries(
        tokens.flatMap((token, id) => vocabulary.token_type[id] === tokenType.unused ? [] : [[token, id]]),
      ),
      merges: merges.map((merge) => pairOf(path, merge)),
      ignore_merges: ignoreMerges,
    },
    added_tokens: addedTokens(vocabulary),
  });
  return {
    ...marks(path, vocabulary, textEncoding(description), addsBos),
    writing: { alphabet: "bytes", stripsFirstSpace: false },
  };
}

/** "a b": a space between, and after the first letter, for a token may itself begin with one. */
function pairOf(path: string, merge: string): [string, string] {
  const space = merge.indexOf(" ", 1);
  if (space < 0) throw new Error(`${path}: the merge ${JSON.stringify(merge)} is no pair of tokens`);
  return [merge.slice(0, space), merge.slice(space + 1)];
}

function sentencePiece(path: string, vocabulary: GgufVocabulary): DecoderTokenizerParts {
  const { tokens, scores, token_type, unknown_token_id, add_space_prefix = true } = vocabulary;
  if (scores?.length !== tokens.length) {
    throw new Error(`${path}: it has ${tokens.length} tokens and ${scores?.length ?? "no"} scores`);
  }
  const ofType = (type: number) => tokens.flatMap((_, id) => token_type[id] === type ? [id] : []);
  const byteIds = ofType(tokenType.byte);
  const byName = new Map(byteIds.map((id) => [tokens[id].toUpperCase(), id]));
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => byName.get(`<0X${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
  );
  const isWhole = (all: (number | undefined)[]): all is number[] => !all.includes(undefined);
  if (byteIds.length > 0 && !isWhole(bytes)) {
    throw new Error(`${path}: it has ${byteIds.length} byte tokens, and there are 256: convert it again`);
  }
  const added = addedTokens(vocabulary);
  const model = scoredPairs({
    pieces: tokens,
    scores: Array.from(scores),
    unjoined: new Set([...byteIds, ...added.map(({ id }) => id)]),
    unused: new Set(ofType(tokenType.unused)),
    bytes: isWhole(bytes) ? bytes : [],
    unknown: unknown_token_id,
  });
  const spaces = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const description = v.parse(tokenizerSchema, {
    normalizer: add_space_prefix
      ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, spaces] }
      : spaces,
    model: {},
    added_tokens: added,
  });
  return {
    ...marks(path, vocabulary, textEncoding(description, model), true),
    writing: { alphabet: "pieces", stripsFirstSpace: add_space_prefix },
  };
}

/** The tokens that are found before a text is cut. */
function addedTokens({ tokens, token_type }: GgufVocabulary) {
  return tokens.flatMap((content, id) => {
    const type = token_type[id];
    const special = type === tokenType.control || type === tokenType.unknown;
    return special || type === tokenType.userDefined ? [{ id, content, normalized: false, special }] : [];
  });
}

/** What the metadata say of marks. A mark that no key names is none: llama.cpp's default ids are other models'. */
function marks(path: string, vocabulary: GgufVocabulary, encoding: TextEncoding, addsBos: boolean) {
  const { tokens, token_type, eos_token_id, eot_token_id, eom_token_id } = vocabulary;
  const ids = {
    bos_token: vocabulary.bos_token_id,
    eos_token: eos_token_id,
    unk_token: vocabulary.unknown_token_id,
    pad_token: vocabulary.padding_token_id,
  };
  const endings = tokens.flatMap((token, id) =>
    token_type[id] === tokenType.control && endingNames.includes(token) ? [id] : []
  );
  const told = [eos_token_id, eot_token_id, eom_token_id].filter((id) => id !== undefined);
  const named = Object.entries(ids).flatMap(([name, id]) => {
    if (id === undefined) return [];
    if (id < tokens.length) return [[name, tokens[id]]];
    throw new Error(`${path}: ${name} has the id ${id}, and there are ${tokens.length} tokens`);
  });
  return {
    path,
    encoding,
    bos: ids.bos_token,
    addsBos: vocabulary.add_bos_token ?? addsBos,
    cutsBeginning: false,
    closing: vocabulary.add_eos_token && eos_token_id !== undefined ? [eos_token_id] : [],
    eos: [...new Set([...told, ...endings])],
    endMark: eos_token_id,
    namedTokens: Object.fromEntries(named) as Record<string, string>,
  };
}
