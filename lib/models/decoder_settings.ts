/**
 * What a decoder's folder says of its marks: `tokenizer_config.json`, the `special_tokens_map.json` of older folders, `config.json`
 * and `generation_config.json`.
 */

import * as v from "npm:valibot@1.5.0";
import { isFile, readJson } from "../files.ts";
import { recordOf } from "../record_schema.ts";

const id = v.pipe(v.number(), v.integer(), v.minValue(0));

const tokenSchema = v.nullish(v.union([v.string(), v.looseObject({ content: v.string() })]));

const named = {
  bos_token: tokenSchema,
  eos_token: tokenSchema,
  unk_token: tokenSchema,
  pad_token: tokenSchema,
  sep_token: tokenSchema,
  cls_token: tokenSchema,
  mask_token: tokenSchema,
};
const namedSchema = v.looseObject(named);

const settingsSchema = v.looseObject({
  ...named,
  add_bos_token: v.nullish(v.boolean()),
  truncation_side: v.nullish(v.picklist(["left", "right"])),
  /** By the token's id. */
  added_tokens_decoder: v.nullish(recordOf(v.looseObject({ content: v.string() }))),
});

const modelSchema = v.looseObject({
  eos_token_id: v.nullish(v.union([id, v.array(id)])),
  vocab_size: v.nullish(id),
});

/** Marks of a decoder. */
export interface DecoderSettings {
  /** bos_token, eos_token, unk_token, pad_token, sep_token, cls_token and mask_token, as far as there are. */
  readonly namedTokens: Readonly<Record<string, string>>;
  /** Whether texts begin with bos_token; undefined leaves it to `tokenizer.json`. */
  readonly addsBos: boolean | undefined;
  /** Whether texts that are too long lose their beginning. */
  readonly cutsBeginning: boolean;
  /** Ids that end generation: `generation_config.json`'s, or else `config.json`'s. */
  readonly eos: readonly number[];
  /** Tokens that `tokenizer_config.json` lists with their ids. */
  readonly added: readonly { readonly content: string; readonly id: number }[];
  /** Rows of the model's embedding. */
  readonly vocabularySize: number | undefined;
}

/** Reads them from `folder`; each file may be absent. Throws an Error that names the file and the malformed setting. */
export async function readDecoderSettings(folder: string): Promise<DecoderSettings> {
  const settings = await readIfThere(`${folder}/tokenizer_config.json`, settingsSchema);
  const config = await readIfThere(`${folder}/config.json`, modelSchema);
  const generation = await readIfThere(`${folder}/generation_config.json`, modelSchema);
  // transformers reads the older file only where the newer one lists no tokens, and then it is the older that counts.
  const isOlder = (settings?.added_tokens_decoder ?? undefined) === undefined;
  const older = isOlder ? await readIfThere(`${folder}/special_tokens_map.json`, namedSchema) : undefined;
  const entries = Object.keys(named).flatMap((name) => {
    const token = older?.[name as keyof typeof named] ?? settings?.[name as keyof typeof named];
    if (token === null || token === undefined) return [];
    return [[name, typeof token === "string" ? token : token.content]];
  });
  return {
    namedTokens: Object.fromEntries(entries),
    addsBos: settings?.add_bos_token ?? undefined,
    cutsBeginning: settings?.truncation_side === "left",
    eos: [generation?.eos_token_id ?? config?.eos_token_id ?? []].flat(),
    added: Object.entries(settings?.added_tokens_decoder ?? {}).map(([id, { content }]) => ({
      content,
      id: Number(id),
    })),
    vocabularySize: config?.vocab_size ?? undefined,
  };
}

async function readIfThere<Schema extends v.GenericSchema>(
  path: string,
  schema: Schema,
): Promise<v.InferOutput<Schema> | undefined> {
  return await isFile(path) ? await readJson(path, schema) : undefined;
}
