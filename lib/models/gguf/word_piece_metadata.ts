/**
 * BERT's WordPiece in GGUF, as llama.cpp's converter writes it (conversion/bert.py, `BertModel.set_vocab`) and src/llama-vocab.cpp
 * (`llm_tokenizer_wpm_session`) reads it: a token that begins a word begins with "▁", the space before it, and one that goes on with
 * a word stands without its "##". Texts are cleaned and ideographs put apart always; letters are made small and lose their accents as
 * `tokenizer.ggml.normalizer.*` say. No file can say otherwise where ids differ still: words of more than `max_input_chars_per_word`
 * letters are read there, and are unknown here; with the accents, marks that take space are dropped there as well (in Indic scripts),
 * and Korean syllables stay whole.
 */

import * as v from "npm:valibot@1.5.0";
import { fitting } from "../../files.ts";
import { recordOf } from "../../record_schema.ts";
import type { DescribedTokenizer } from "../hugging_face_tokenizer.ts";
import type { GgufValue } from "./metadata.ts";
import { checkAdded, markEntries, tokenEntries, tokenRows, tokenTypes } from "./token_rows.ts";

/** What goes on with a word begins with it. */
const prefix = "##";

const modelSchema = v.looseObject({
  vocab: recordOf(v.pipe(v.number(), v.integer(), v.minValue(0))),
  unk_token: v.string(),
  continuing_subword_prefix: v.optional(v.string(), prefix),
});

const normalizerSchema = v.looseObject({
  type: v.literal("BertNormalizer"),
  clean_text: v.optional(v.literal(true), true),
  handle_chinese_chars: v.optional(v.literal(true), true),
  strip_accents: v.nullish(v.boolean()),
  lowercase: v.optional(v.boolean(), true),
});

/** Of these llama.cpp would take the ids of BERT's first vocabulary, unless the file gives them. */
const named = { padding: "[PAD]", mask: "[MASK]" };

/** Throws an Error that names the file for what llama.cpp does otherwise. */
export function wordPieceEntries(
  { path, description, tokenizer: { marks } }: DescribedTokenizer,
  rows: number,
): [string, GgufValue][] {
  const model = fitting(path, modelSchema, description.model);
  const { lowercase, strip_accents } = checkedNormalizer(path, description, model.continuing_subword_prefix);
  const { tokens, types } = tokenRows(rows, Object.entries(model.vocab), description.added_tokens);
  const idOf = (token: string) => {
    const id = tokens.indexOf(token);
    if (id >= 0) return id;
    throw new Error(`${path}: the vocabulary lacks the token ${token}, which llama.cpp wants: add it`);
  };
  const phantom = tokens.map((token, id) => {
    if (types[id] !== tokenTypes.normal) return token;
    return token.startsWith(prefix) ? token.slice(prefix.length) : `▁${token}`;
  });
  checkDistinct(path, phantom);
  return [
    ["tokenizer.ggml.model", { type: "string", value: "bert" }],
    ...tokenEntries({ tokens: phantom, types }),
    ...markEntries({
      // What llama.cpp puts first is called bos there, and cls in older files.
      ...{ bos: marks.begin, cls: marks.begin, seperator: marks.end },
      unknown: idOf(model.unk_token),
      ...Object.fromEntries(Object.entries(named).map(([name, token]) => [name, idOf(token)])),
    }),
    ["tokenizer.ggml.normalizer.lowercase", { type: "bool", value: lowercase }],
    ["tokenizer.ggml.normalizer.strip_accents", { type: "bool", value: strip_accents ?? lowercase }],
  ];
}

/** The settings of the normalizer. Throws an Error for another way of reading texts, and for tokens that GGUF has no place for. */
function checkedNormalizer(
  path: string,
  { normalizer, pre_tokenizer, added_tokens }: DescribedTokenizer["description"],
  ownPrefix: string,
): v.InferOutput<typeof normalizerSchema> {
  const found = v.safeParse(normalizerSchema, normalizer);
  if (!found.success || pre_tokenizer?.type !== "BertPreTokenizer" || ownPrefix !== prefix) {
    throw new Error(
      `${path} does not read texts as BERT does (BertNormalizer with clean_text and handle_chinese_chars, BertPreTokenizer, ` +
        `"${prefix}"), and llama.cpp knows no other way: merge it into a folder`,
    );
  }
  checkAdded(path, added_tokens);
  const inAnyCase = added_tokens.find((token) => !token.special && token.normalized);
  if (!inAnyCase) return found.output;
  const what = `the token ${JSON.stringify(inAnyCase.content)} is found in any case`;
  throw new Error(`${path}: ${what}, which GGUF cannot say: merge it into a folder`);
}

/** Throws an Error for tokens that are two here and would be one there. */
function checkDistinct(path: string, phantom: readonly string[]): void {
  const seen = new Set<string>();
  for (const token of phantom) {
    if (seen.has(token)) {
      throw new Error(
        `${path}: two tokens are ${
          JSON.stringify(token)
        } where "${prefix}" is left out: merge it into a folder`,
      );
    }
    seen.add(token);
  }
}
