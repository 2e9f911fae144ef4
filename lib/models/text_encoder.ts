/**
 * What a `tokenizer.json` makes of one text, before marks are put around it: ids as Hugging Face's tokenizers in Rust gives them.
 * The npm library knows WordPiece, byte-pair encoding and where marks go; what it has otherwise than Rust is in the files beside.
 */

import { BPE, RobertaProcessingPostProcessor, Tokenizer } from "npm:@huggingface/tokenizers@0.2.0";
import * as v from "npm:valibot@1.5.0";
import { type AddedToken, addedTokenSchema, sectionsAt } from "./added_tokens.ts";
import { preTokenizerOf } from "./pre_tokenizers.ts";
import { normalizerOf } from "./text_normalizers.ts";
import { withoutPrefix } from "./text_prefix.ts";
import { unigram, unigramSchema } from "./unigram.ts";

const part = v.optional(v.nullable(v.looseObject({ type: v.string() })), null);

/** A section of a `tokenizer.json`, such as its normalizer. */
interface Part {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** A `tokenizer.json`. */
export interface TokenizerDescription {
  readonly model: Readonly<Record<string, unknown>>;
  readonly normalizer: Part | null;
  readonly pre_tokenizer: Part | null;
  readonly post_processor: Part | null;
  readonly added_tokens: readonly AddedToken[];
  readonly [field: string]: unknown;
}

/** What of a `tokenizer.json` is read here. */
export const tokenizerSchema: v.GenericSchema<unknown, TokenizerDescription> = v.looseObject({
  model: v.looseObject({}),
  normalizer: part,
  pre_tokenizer: part,
  post_processor: part,
  added_tokens: v.optional(v.array(addedTokenSchema), []),
});

/** How a text is read that is not a whole text of its own, or not to be trusted. */
export interface Reading {
  /** Special tokens that the text spells are text like any other. Added tokens that are not special are found all the same. */
  readonly specialAsText?: boolean;
  /** A character that is taken out after special tokens were found: what it divides is none. */
  readonly seam?: string;
  /** The text goes on after other tokens: no space is put before it. */
  readonly continues?: boolean;
}

/** Ids of texts without marks, and the marks. */
export interface TextEncoding {
  /** The largest id that it can give. */
  readonly largestId: number;
  /** The ids of the model's own tokens; `added` ones may come on top, or be among them. */
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly added: readonly AddedToken[];
  /** The first `most` ids of `text`. What comes after them costs little: no more than normalizing it. */
  encode(text: string, most: number, reading?: Reading): number[];
  /** A token's id, if it has one. */
  idOf(token: string): number | undefined;
  /** The tokens that the post-processor makes of these of one text, or of two. */
  withMarks(first: readonly string[], second?: readonly string[]): string[];
  /** Whether the post-processor gives the tokens of the second of two texts type 1. */
  readonly typesPairs: boolean;
}

/** What gives a part of a text its tokens. */
export interface TokenModel {
  readonly vocabulary: ReadonlyMap<string, number>;
  /** The ids of one part of a text, some at a time. Throws an Error when a token has none. */
  encode(part: string): Iterable<number[]>;
}

/**
 * The encoding of a `tokenizer.json`; `ownModel` takes the place of its model.
 * @throws Error naming what is wrong with the description.
 */
export function textEncoding(description: TokenizerDescription, ownModel?: TokenModel): TextEncoding {
  const { model: described, added_tokens } = description;
  const isOwn = ownModel !== undefined || described.type === "Unigram";
  const library = libraryTokenizer(description, isOwn);
  const model = ownModel ?? (isOwn ? unigramModel(described) : libraryModel(library, described));
  const added = new Map(added_tokens.map(({ content, id }) => [content, id]));
  return {
    largestId: [...model.vocabulary.values(), ...added.values()].reduce((most, id) => Math.max(most, id), 0),
    vocabulary: model.vocabulary,
    added: added_tokens,
    encode: encoderOf(description, model),
    idOf: (token) => added.get(token) ?? model.vocabulary.get(token),
    withMarks(first, second) {
      const { post_processor } = library;
      if (!post_processor) return [...first, ...second ?? []];
      return post_processor.post_process([...first], second ? [...second] : null, true).tokens;
    },
    typesPairs: typesPairs(library),
  };
}

/** RoBERTa's marks leave all types 0, where the library has 1 for the second text. */
function typesPairs({ post_processor }: Tokenizer): boolean {
  if (!post_processor || post_processor instanceof RobertaProcessingPostProcessor) return false;
  const { tokens, token_type_ids } = post_processor.post_process(["first"], ["second"], true);
  return token_type_ids?.[tokens.indexOf("second")] === 1;
}

/** What is done to a text between special tokens before its tokens are looked for. */
function stepsOf({ normalizer, pre_tokenizer }: TokenizerDescription) {
  return { normalize: normalizerOf(normalizer), cut: preTokenizerOf(pre_tokenizer) };
}

function encoderOf(description: TokenizerDescription, model: TokenModel) {
  const steps = stepsOf(description);
  let continuing: typeof steps | undefined;
  const unprefixed = () => continuing ??= stepsOf(withoutPrefix(description));
  const findersOf = (tokens: readonly AddedToken[]) => ({
    inText: sectionsAt(tokens.filter(({ normalized }) => !normalized), ({ content }) => content),
    inNormalized: sectionsAt(
      tokens.filter(({ normalized }) => normalized),
      ({ content }) => steps.normalize(content),
    ),
  });
  const all = findersOf(description.added_tokens);
  const ordinary = findersOf(description.added_tokens.filter(({ special }) => !special));
  function* idsOf(text: string, { specialAsText, seam, continues }: Reading): Iterable<number[]> {
    const { inText, inNormalized } = specialAsText ? ordinary : all;
    for (const section of inText(text)) {
      if ("id" in section) {
        yield [section.id];
        continue;
      }
      const isFirst = section.begin === 0;
      const { normalize, cut } = isFirst && continues ? unprefixed() : steps;
      for (const inner of inNormalized(normalize(section.text))) {
        if ("id" in inner) {
          yield [inner.id];
          continue;
        }
        const bare = seam === undefined ? inner.text : inner.text.replaceAll(seam, "");
        for (const part of cut(bare, isFirst && inner.begin === 0)) yield* model.encode(part);
      }
    }
  }
  return (text: string, most: number, reading: Reading = {}) => {
    const ids: number[] = [];
    for (const some of idsOf(text, reading)) {
      for (const id of some.slice(0, most - ids.length)) ids.push(id);
      if (ids.length >= most) break;
    }
    return ids;
  };
}

/** The library's tokenizer with its own WordPiece or byte-pair encoding, and the post-processor. */
function libraryTokenizer({ model, post_processor }: TokenizerDescription, isWithout: boolean): Tokenizer {
  // A word that the vocabulary holds is taken whole below, before it is cut into pieces.
  const known = isWithout ? { type: "BPE", vocab: {}, merges: [] } : { ...model, ignore_merges: false };
  const none = { normalizer: null, pre_tokenizer: null, decoder: null, added_tokens: [] };
  return new Tokenizer({ ...none, model: known, post_processor }, {});
}

function libraryModel({ model }: Tokenizer, described: Readonly<Record<string, unknown>>): TokenModel {
  const { ignore_merges, unk_token } = described;
  const { tokens_to_ids: vocabulary, unk_token_id } = model!;
  // The library does not look the unknown token of a WordLevel up.
  const unknown = unk_token_id ?? (typeof unk_token === "string" ? vocabulary.get(unk_token) : undefined);
  const idOf = (token: string) => {
    const id = vocabulary.get(token) ?? unknown;
    if (id !== undefined) return id;
    throw new Error(`the vocabulary lacks the token ${JSON.stringify(token)}: the file is not whole`);
  };
  const pieces = model instanceof BPE ? independentPieces(model) : (part: string) => [part];
  return {
    vocabulary,
    *encode(part) {
      const whole = ignore_merges === true ? vocabulary.get(part) : undefined;
      if (whole !== undefined) return yield [whole];
      for (const piece of pieces(part)) yield model!._call([piece]).map(idOf);
    },
  };
}

/**
 * Cuts a word that is longer than every token where no merge can join what is before with what is after: the tokens are those of
 * the whole word, and the first of them can be had without the rest.
 */
function independentPieces(model: BPE): (word: string) => Iterable<string> {
  const { merges, tokens_to_ids, fuse_unk, end_of_word_suffix, config } = model;
  if (v.parse(prefixSchema, config).continuing_subword_prefix) {
    throw new Error(
      "byte-pair encoding with a mark on what continues a word (continuing_subword_prefix) is not known here: use another tokenizer",
    );
  }
  if (fuse_unk || end_of_word_suffix) return (word) => [word];
  const longest = [...tokens_to_ids.keys()].reduce((most, token) => Math.max(most, token.length), 0);
  const last = (token: string) => token.match(/.$/su)?.[0] ?? "";
  const joins = new Set(merges.map(([a, b]) => last(a) + String.fromCodePoint(b.codePointAt(0)!)));
  return function* (word) {
    let begin = 0;
    let at = 0;
    let before = "";
    for (const letter of word.length > longest ? word : "") {
      if (at > begin && !joins.has(before + letter)) {
        yield word.slice(begin, at);
        begin = at;
      }
      at += letter.length;
      before = letter;
    }
    yield word.slice(begin);
  };
}

const prefixSchema = v.looseObject({ continuing_subword_prefix: v.nullish(v.string()) });

function unigramModel(description: object): TokenModel {
  const own = v.parse(unigramSchema, description);
  const vocabulary = new Map(own.vocab.map(([piece], id) => [piece, id]));
  const segment = unigram(own);
  return { vocabulary, encode: (part) => [segment(part)] };
}
