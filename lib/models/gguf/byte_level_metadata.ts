/** RoBERTa's byte-level pairs in GGUF, as llama.cpp's converter writes them (conversion/bert.py, `RobertaModel.set_vocab`). */

import * as v from "npm:valibot@1.5.0";
import { fitting } from "../../files.ts";
import { recordOf } from "../../record_schema.ts";
import type { DescribedTokenizer } from "../hugging_face_tokenizer.ts";
import { checkMarks, encoderMarks } from "./encoder_marks.ts";
import type { GgufValue } from "./metadata.ts";
import { tokenEntries, tokenRows } from "./token_rows.ts";
import { mergeTexts, preTokenizerOf } from "./tokenizer_metadata.ts";

const modelSchema = v.looseObject({
  vocab: recordOf(v.pipe(v.number(), v.integer(), v.minValue(0))),
  merges: v.array(v.union([v.string(), v.tuple([v.string(), v.string()])])),
  unk_token: v.nullish(v.string()),
  ignore_merges: v.nullish(v.boolean()),
});

/** Throws an Error that names the file for what llama.cpp does otherwise. */
export function byteLevelEntries(
  { path, description, tokenizer: { marks } }: DescribedTokenizer,
  rows: number,
): [string, GgufValue][] {
  const { normalizer, pre_tokenizer, added_tokens } = description;
  const model = fitting(path, modelSchema, description.model);
  const way = preTokenizerOf(path, { model, normalizer, pre_tokenizer });
  if (way !== "gpt-2") {
    throw new Error(
      `${path} cuts texts as ${way}, and llama.cpp knows encoders that cut them as GPT-2: merge it into a folder`,
    );
  }
  checkMarks(path, added_tokens);
  const lines = tokenRows(rows, Object.entries(model.vocab), added_tokens);
  return [
    ["tokenizer.ggml.model", { type: "string", value: "gpt2" }],
    // GPT-2's way with RoBERTa's marks.
    ["tokenizer.ggml.pre", { type: "string", value: "roberta-bpe" }],
    ...tokenEntries(lines),
    ["tokenizer.ggml.merges", { type: "array", value: mergeTexts(model.merges) }],
    ...encoderMarks(lines.tokens, marks, model.unk_token ?? undefined),
  ];
}
