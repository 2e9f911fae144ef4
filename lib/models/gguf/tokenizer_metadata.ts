/** A byte-level tokenizer of a transformers folder as `tokenizer.ggml.*` of a GGUF file: what `gguf_tokenizer.ts` reads. */

import * as v from "npm:valibot@1.5.0";
import { readJson } from "../../files.ts";
import { recordOf } from "../../record_schema.ts";
import { addedTokenSchema } from "../added_tokens.ts";
import { readChatTemplates } from "../chat_template.ts";
import { readDecoderTokenizer } from "../decoder_tokenizer.ts";
import { preTokenizers } from "../gguf_pre_tokenizers.ts";
import { ggufTokenizer } from "../gguf_tokenizer.ts";
import type { GgufValue } from "./metadata.ts";
import { checkAdded, markEntries, tokenEntries, tokenRows } from "./token_rows.ts";

const stepSchema = v.looseObject({ type: v.string() });
type Step = v.InferOutput<typeof stepSchema>;

const tokenizerSchema = v.looseObject({
  model: v.looseObject({
    type: v.nullish(v.string()),
    byte_fallback: v.nullish(v.boolean()),
    ignore_merges: v.nullish(v.boolean()),
    vocab: v.optional(v.unknown()),
    merges: v.optional(v.unknown()),
  }),
  normalizer: v.nullish(stepSchema),
  pre_tokenizer: v.nullish(stepSchema),
  added_tokens: v.optional(v.array(addedTokenSchema), []),
});

const pairsSchema = v.looseObject({
  model: v.looseObject({
    vocab: recordOf(v.pipe(v.number(), v.integer(), v.minValue(0))),
    merges: v.array(v.union([v.string(), v.tuple([v.string(), v.string()])])),
  }),
});

/**
 * The metadata of the tokenizer in `folder`, for a model with `vocabulary` rows: rows without a token get a name of their own and
 * are unused. llama.cpp knows ways of cutting texts by name alone, and the one here must be one of these, step by step.
 * @throws Error that names the file, for SentencePiece, whose scores no file here has, for a way of cutting texts without a name,
 * and for tokens and marks that the metadata have no place for; and what `readDecoderTokenizer` throws.
 */
export async function tokenizerMetadata(
  folder: string,
  vocabulary: number,
): Promise<Map<string, GgufValue>> {
  const path = `${folder}/tokenizer.json`;
  const described = await readJson(path, tokenizerSchema);
  const { model, added_tokens: added } = described;
  if (model.type !== "BPE" || model.byte_fallback) {
    throw new Error(`${path} is no byte-level tokenizer, and of others it lacks what GGUF has of them`);
  }
  checkAdded(path, added);
  const { vocab, merges } = (await readJson(path, pairsSchema)).model;
  const rows = tokenRows(vocabulary, Object.entries(vocab), added);
  const found = new Map<string, GgufValue>([
    ["tokenizer.ggml.model", { type: "string", value: "gpt2" }],
    ["tokenizer.ggml.pre", { type: "string", value: preTokenizerOf(path, described) }],
    ...tokenEntries(rows),
    ["tokenizer.ggml.merges", { type: "array", value: mergeTexts(merges) }],
    ...await marksOf(folder, rows.tokens),
    ...await templatesOf(folder),
  ]);
  return await checked(folder, found);
}

/** A list of merges as GGUF has it: pairs with a space between. */
export function mergeTexts(merges: readonly (string | readonly [string, string])[]): string[] {
  return merges.map((pair) => typeof pair === "string" ? pair : pair.join(" "));
}

/**
 * llama.cpp's name of the way in which a byte-level `tokenizer.json` cuts texts. Throws an Error that names the file at `path` for a
 * way without a name.
 */
export function preTokenizerOf(
  path: string,
  { model, normalizer, pre_tokenizer }: Pick<
    v.InferOutput<typeof tokenizerSchema>,
    "model" | "normalizer" | "pre_tokenizer"
  >,
): string {
  const own = JSON.stringify([
    normalizer ?? null,
    stepsOf(pre_tokenizer).map(plain),
    model.ignore_merges ?? false,
  ]);
  const known = Object.entries(preTokenizers).find(([, { normalizer, patterns, ignoreMerges }]) =>
    JSON.stringify([normalizer ?? null, (patterns as readonly Step[]).map(plain), ignoreMerges]) === own
  );
  if (known) return known[0];
  throw new Error(
    `${path} cuts texts in a way that has no name here; known are ${
      Object.keys(preTokenizers).join(", ")
    } (lib/models/gguf_pre_tokenizers.ts)`,
  );
}

function stepsOf(step: Step | null | undefined): Step[] {
  if (!step) return [];
  return step.type === "Sequence" ? (step.pretokenizers as Step[]).flatMap(stepsOf) : [step];
}

/** A step with its defaults, and without what does not change ids. */
function plain(step: Step): unknown {
  const { type, add_prefix_space = true, use_regex = true, individual_digits = false } = step;
  if (type === "ByteLevel") return { type, add_prefix_space, use_regex };
  if (type === "Digits") return { type, individual_digits };
  const { pattern, behavior, invert = false } = step;
  return type === "Split" ? { type, pattern, behavior, invert } : step;
}

/** Marks by their ids, and whether texts begin with one. */
async function marksOf(folder: string, tokens: readonly string[]): Promise<[string, GgufValue][]> {
  const { bos, eos, closing, namedTokens, encode } = await readDecoderTokenizer(folder);
  // Marks that no text has, such as padding, may be named without being in the vocabulary.
  const idOf = (token: string | undefined) =>
    token !== undefined && tokens.includes(token) ? tokens.indexOf(token) : undefined;
  const end = idOf(namedTokens.eos_token) ?? eos[0];
  const ids = {
    bos,
    eos: end,
    // One that ends turns beside the one that ends texts.
    eot: eos.find((id) => id !== end),
    unknown: idOf(namedTokens.unk_token),
    padding: idOf(namedTokens.pad_token),
  };
  const [letter] = tokens.filter((token) => /^[A-Za-z]$/.test(token));
  const addsBos = encode(letter, { addMarks: true })[0] === bos;
  return [
    ...markEntries(ids),
    ["tokenizer.ggml.add_bos_token", { type: "bool", value: addsBos }],
    ...closing.length > 0
      ? [["tokenizer.ggml.add_eos_token", { type: "bool", value: true }] as [string, GgufValue]]
      : [],
  ];
}

async function templatesOf(folder: string): Promise<[string, GgufValue][]> {
  const { byName = {} } = await readChatTemplates(folder) ?? {};
  const key = "tokenizer.chat_template";
  return Object.entries(byName).map(([name, value]) => [
    name === "default" ? key : `${key}.${name}`,
    { type: "string", value },
  ]);
}

/** The metadata, if all that ends a text in the folder ends it by them as well; llama.cpp knows more ends by their names. */
async function checked(folder: string, metadata: Map<string, GgufValue>): Promise<Map<string, GgufValue>> {
  const values = new Map([...metadata].map(([key, { value }]) => [key, value]));
  const { eos, closing } = ggufTokenizer(folder, values);
  const own = await readDecoderTokenizer(folder);
  if (closing.join() !== own.closing.join()) {
    throw new Error(
      `${folder}: its tokenizer ends texts with the ids ${own.closing.join(", ")}, and GGUF with ${
        closing.join(", ")
      }: merge it into a folder`,
    );
  }
  const missing = own.eos.filter((id) => !eos.includes(id));
  if (missing.length === 0) return metadata;
  throw new Error(
    `${folder}: texts end with the ids ${
      missing.join(", ")
    } as well, which GGUF has no place for: merge it into a folder`,
  );
}
