/**
 * What a folder says of its tokenizer beside the vocabulary: `tokenizer_config.json`, and the `added_tokens.json` of older
 * folders, applied as transformers' own classes apply them.
 */

import * as v from "npm:valibot@1.5.0";
import { isFile, readJson } from "../files.ts";
import { recordOf } from "../record_schema.ts";
import { type AddedToken, addedTokenSchema } from "./added_tokens.ts";
import type { TokenizerDescription } from "./text_encoder.ts";

const id = v.pipe(v.number(), v.integer(), v.minValue(0));

const settingsSchema = v.looseObject({
  tokenizer_class: v.optional(v.nullable(v.string())),
  add_prefix_space: v.optional(v.nullable(v.boolean())),
  do_lower_case: v.optional(v.nullable(v.boolean())),
  strip_accents: v.optional(v.nullable(v.boolean())),
  tokenize_chinese_chars: v.optional(v.nullable(v.boolean())),
  model_input_names: v.nullish(v.array(v.string())),
  truncation_side: v.optional(v.nullable(v.string())),
  /** By the token's id. */
  added_tokens_decoder: v.optional(v.nullable(recordOf(v.looseObject({ content: v.string() })))),
});

/** What a folder of sentence-transformers says of its texts. */
const sentenceSchema = v.looseObject({ do_lower_case: v.nullish(v.boolean()) });

/** The settings, and tokens that are added to the vocabulary of older files. */
export interface TokenizerSettings extends v.InferOutput<typeof settingsSchema> {
  readonly added: readonly AddedToken[];
  /** Whether the folder is of sentence-transformers and has texts put into small letters first. */
  readonly lowersTexts: boolean;
}

/**
 * Reads the settings of the tokenizer in `folder`.
 * @throws Error that names the file and the setting that is malformed, or not supported: texts that are cut at their beginning.
 */
export async function readTokenizerSettings(folder: string): Promise<TokenizerSettings> {
  const path = `${folder}/tokenizer_config.json`;
  const settings = await isFile(path) ? await readJson(path, settingsSchema) : {};
  if ((settings.truncation_side ?? "right") !== "right") {
    throw new Error(
      `${path}: truncation_side is "${settings.truncation_side}", and texts are cut at their end here: set it to "right", if ` +
        `the model was trained so`,
    );
  }
  const older = `${folder}/added_tokens.json`;
  const byContent = await isFile(older) ? Object.entries(await readJson(older, recordOf(id))) : [];
  const added = [
    ...byContent.map(([content, id]) => ({ content, id })),
    ...Object.entries(settings.added_tokens_decoder ?? {}).map(([id, token]) => ({
      ...token,
      id: Number(id),
    })),
  ].map((token) => v.parse(addedTokenSchema, token));
  const sentences = `${folder}/sentence_bert_config.json`;
  const { do_lower_case } = await isFile(sentences) ? await readJson(sentences, sentenceSchema) : {};
  return {
    ...settings,
    // What tokenizer_config.json says of a token counts.
    added: [...new Map(added.map((token) => [token.content, token])).values()],
    lowersTexts: do_lower_case ?? false,
  };
}

/** Classes of tokenizers that give no types of tokens where the settings do not say so. */
const untyped = /^(XLMRoberta|Roberta|Camembert|MPNet|DistilBert)Tokenizer(Fast)?$/;

/** Whether transformers passes the types of a tokenizer's tokens on to the model, which has 0 for all of them otherwise. */
export function givesTypes({ model_input_names, tokenizer_class }: TokenizerSettings): boolean {
  return model_input_names?.includes("token_type_ids") ?? !untyped.test(tokenizer_class ?? "");
}

/** Classes that take `tokenizer.json` as it is. */
const generic = /^(PreTrainedTokenizerFast|TokenizersBackend)$/;

/** A `tokenizer.json` with what `tokenizer_config.json` changes of it, where its class is one of a model's family. */
export function withSettings(
  description: TokenizerDescription,
  settings: TokenizerSettings,
): TokenizerDescription {
  if (generic.test(settings.tokenizer_class ?? "")) return description;
  const { do_lower_case, strip_accents, tokenize_chinese_chars, add_prefix_space } = settings;
  const ofBert = {
    lowercase: do_lower_case ?? undefined,
    strip_accents: strip_accents ?? undefined,
    handle_chinese_chars: tokenize_chinese_chars ?? undefined,
  };
  const { normalizer, pre_tokenizer } = description;
  return {
    ...description,
    normalizer: normalizer?.type === "BertNormalizer" ? { ...normalizer, ...given(ofBert) } : normalizer,
    pre_tokenizer: pre_tokenizer?.type === "ByteLevel"
      ? { ...pre_tokenizer, ...given({ add_prefix_space: add_prefix_space ?? undefined }) }
      : pre_tokenizer,
  };
}

/** The description with texts put into small letters first, where the folder wants that and it does not do so itself. */
export function withSmallLetters(
  description: TokenizerDescription,
  { lowersTexts }: TokenizerSettings,
): TokenizerDescription {
  const { normalizer } = description;
  if (!lowersTexts) return description;
  if (normalizer?.type === "BertNormalizer") {
    if (normalizer.lowercase !== false) return description;
    // Without a word on accents, one in small letters strips them.
    const { strip_accents } = normalizer;
    return {
      ...description,
      normalizer: { ...normalizer, lowercase: true, strip_accents: strip_accents ?? false },
    };
  }
  const normalizers = [{ type: "Lowercase" }, ...normalizer ? [normalizer] : []];
  return { ...description, normalizer: { type: "Sequence", normalizers } };
}

/** The older files' marks with the tokens that a folder adds, or describes otherwise. */
export function withAdded(
  marks: readonly AddedToken[],
  { added }: TokenizerSettings,
): AddedToken[] {
  return [...new Map([...marks, ...added].map((token) => [token.content, token])).values()];
}

function given(values: Readonly<Record<string, boolean | undefined>>): Record<string, boolean | undefined> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
