/** Published decoders' tokenizers, cut down to a few texts (`fixtures/decoder_vocabularies.py`): their ids are their own. */

import { type DecoderTokenizer, readDecoderTokenizer } from "../../lib/models/decoder_tokenizer.ts";
import { ggufTokenizer } from "../../lib/models/gguf_tokenizer.ts";
import fixture from "../fixtures/decoder_vocabularies.json" with { type: "json" };
import { withFiles } from "./files.ts";

/** Ids of texts in which nothing is a special token. */
export const publishedEncoders: Readonly<Record<string, Readonly<Record<string, number[]>>>> = {
  smollm2: fixture.smollm2.ids,
  ...Object.fromEntries(Object.entries(fixture.published).map(([name, { ids }]) => [name, ids])),
};

/** The files of a Hugging Face folder, with `more` of them or in their places. */
export function publishedFiles(
  name: keyof typeof fixture.published,
  more: Readonly<Record<string, unknown>> = {},
): Record<string, string> {
  const files = { ...fixture.published[name].files, ...more };
  return Object.fromEntries(Object.entries(files).map(([name, json]) => [name, JSON.stringify(json)]));
}

/** A published tokenizer out of its folder, with these files more or changed. */
export function publishedTokenizer(
  name: keyof typeof fixture.published,
  more: Readonly<Record<string, unknown>> = {},
): Promise<DecoderTokenizer> {
  return withFiles(publishedFiles(name, more), readDecoderTokenizer);
}

/** The metadata of SmolLM2-135M-Instruct's GGUF file; tokens that were cut out have names of their own. */
export function smollm2Metadata(changed: Readonly<Record<string, unknown>> = {}): Map<string, unknown> {
  const { size, tokens, control, merges, fields } = fixture.smollm2;
  const byId: Readonly<Record<string, string>> = tokens;
  return new Map<string, unknown>(
    Object.entries({
      ...fields,
      "tokenizer.ggml.tokens": Array.from({ length: size }, (_, id) => byId[id] ?? `cut out ${id}`),
      "tokenizer.ggml.token_type": Array.from({ length: size }, (_, id) => id < control ? 3 : 1),
      "tokenizer.ggml.merges": merges,
      ...changed,
    }).filter(([, value]) => value !== undefined),
  );
}

/** SmolLM2-135M-Instruct's tokenizer, out of its GGUF file. */
export function smollm2(): DecoderTokenizer {
  return ggufTokenizer("smollm2.gguf", smollm2Metadata());
}
