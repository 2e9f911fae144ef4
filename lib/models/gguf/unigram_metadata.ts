/**
 * XLM-RoBERTa's pieces in GGUF, as llama.cpp's converter writes them (conversion/bert.py, `_xlmroberta_set_vocab`) and
 * src/llama-vocab.cpp (`llm_tokenizer_ugm_session`) reads them: a text is normalized by the table of characters, loses spaces beside
 * spaces, gets one before it, and is cut so that the pieces' scores are the greatest sum.
 */

import * as v from "npm:valibot@1.5.0";
import { fitting } from "../../files.ts";
import type { DescribedTokenizer } from "../hugging_face_tokenizer.ts";
import { charsmapBytes } from "../precompiled_normalizer.ts";
import { unigramSchema } from "../unigram.ts";
import { checkMarks, encoderMarks } from "./encoder_marks.ts";
import type { GgufValue } from "./metadata.ts";
import { tokenEntries, tokenRows, tokenTypes } from "./token_rows.ts";

/** Of a step in a `tokenizer.json`: what it is, and the settings that change ids. */
const stepSchema = v.looseObject({ type: v.string() });
type Step = v.InferOutput<typeof stepSchema>;

/** What llama.cpp does to spaces anyhow, as `tokenizer.json` says it. */
const ofSpaces: readonly ((step: Step) => boolean)[] = [
  ({ type, strip_right }) => type === "Strip" && strip_right === true,
  ({ type, pattern, content }) =>
    type === "Replace" && JSON.stringify(pattern) === '{"Regex":" {2,}"}' &&
    [" ", "▁"].includes(`${content}`),
];

const charactersSchema = v.looseObject({
  type: v.literal("Precompiled"),
  precompiled_charsmap: v.string(),
});

const metaspaceSchema = v.looseObject({
  type: v.literal("Metaspace"),
  replacement: v.literal("▁"),
  prepend_scheme: v.optional(v.literal("always"), "always"),
  add_prefix_space: v.optional(v.literal(true), true),
});

/** Throws an Error that names the file for what llama.cpp does otherwise. */
export function unigramEntries(
  { path, description, tokenizer: { marks } }: DescribedTokenizer,
  rows: number,
): [string, GgufValue][] {
  const { added_tokens } = description;
  const { vocab, unk_id } = fitting(path, unigramSchema, description.model);
  const characters = checkSteps(path, description.normalizer, description.pre_tokenizer);
  checkMarks(path, added_tokens);
  const { tokens, types } = tokenRows(rows, vocab.map(([piece], id) => [piece, id] as const), added_tokens);
  if (typeof unk_id === "number") types[unk_id] = tokenTypes.unknown;
  const scores = Float32Array.from(tokens, (_, id) => vocab[id]?.[1] ?? unusedScore);
  return [
    ["tokenizer.ggml.model", { type: "string", value: "t5" }],
    ["tokenizer.ggml.pre", { type: "string", value: "default" }],
    ...tokenEntries({ tokens, types }),
    ["tokenizer.ggml.scores", { type: "array", value: scores }],
    ["tokenizer.ggml.add_space_prefix", { type: "bool", value: true }],
    ["tokenizer.ggml.remove_extra_whitespaces", { type: "bool", value: true }],
    ["tokenizer.ggml.precompiled_charsmap", { type: "array", value: characters }],
    ...encoderMarks(tokens, marks, typeof unk_id === "number" ? tokens[unk_id] : undefined),
  ];
}

/** As in the converter: of rows that are no piece's. */
const unusedScore = -10_000;

/** The bytes of the table of characters. */
function checkSteps(
  path: string,
  normalizer: DescribedTokenizer["description"]["normalizer"],
  preTokenizer: DescribedTokenizer["description"]["pre_tokenizer"],
): Uint8Array<ArrayBuffer> {
  const [first, ...more] = stepsOf(normalizer, "normalizers");
  const cuts = stepsOf(preTokenizer, "pretokenizers").filter(({ type }) => type !== "WhitespaceSplit");
  const characters = v.safeParse(charactersSchema, first);
  const isKnown = more.every((step) => ofSpaces.some((known) => known(step))) &&
    cuts.length === 1 && v.is(metaspaceSchema, cuts[0]);
  if (characters.success && isKnown) {
    return charsmapBytes(characters.output.precompiled_charsmap);
  }
  throw new Error(
    `${path} does not read texts as XLM-RoBERTa does (Precompiled, then Metaspace with "▁"), and llama.cpp knows no other way: ` +
      `merge it into a folder`,
  );
}

function stepsOf(step: Step | null, list: "normalizers" | "pretokenizers"): Step[] {
  if (!step) return [];
  return step.type === "Sequence" ? v.parse(v.array(stepSchema), step[list]) : [step];
}
