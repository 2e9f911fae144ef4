/** How a tokenizer cuts a text into parts that are encoded each by itself, as Hugging Face's tokenizers in Rust does it. */

import { ByteLevelPreTokenizer, Tokenizer } from "npm:@huggingface/tokenizers@0.2.0";
import * as v from "npm:valibot@1.5.0";
import { numeric, punctuation } from "./rust_unicode.ts";
import { behaviorSchema, patternOf, patternSchema, splitAt } from "./split_pattern.ts";

/** The parts of a text, one after the other; `isFirst` where the text begins what is encoded. */
export type Cut = (text: string, isFirst: boolean) => Iterable<string>;

/** A part of a `tokenizer.json`. */
type Description = Readonly<Record<string, unknown>>;

/**
 * The pre-tokenizer of this description; null leaves texts whole.
 * @throws Error naming the kind that is not known, or what is wrong with the description.
 */
export function preTokenizerOf(description: Description | null): Cut {
  if (description === null) return (text) => [text];
  const kind = kinds[description.type as string];
  return kind ? kind(description) : libraryPreTokenizer(description);
}

/** The kinds that the npm library has otherwise than the one in Rust. */
const kinds: Readonly<Record<string, (description: Description) => Cut>> = {
  BertPreTokenizer: () =>
    matchesOf(new RegExp(String.raw`${punctuation}|[\P{White_Space}--${punctuation}]+`, "gv")),
  ByteLevel: (description) => byteLevel(v.parse(byteLevelSchema, description)),
  Digits(description) {
    const { individual_digits } = v.parse(digitsSchema, description);
    return matchesOf(new RegExp(`[^${numeric}]+|[${numeric}]${individual_digits ? "" : "+"}`, "gu"));
  },
  FixedLength(description) {
    const { length } = v.parse(fixedLengthSchema, description);
    return matchesOf(new RegExp(`.{1,${length}}`, "gsu"));
  },
  Metaspace: (description) => metaspace(v.parse(metaspaceSchema, description)),
  Punctuation(description) {
    const { behavior } = v.parse(punctuationSchema, description);
    return (text) => splitAt(text, mark, behavior, false);
  },
  Sequence(description) {
    const steps = v.parse(sequenceSchema, description).pretokenizers.map(preTokenizerOf);
    return steps.reduce(inTurn, (text) => [text]);
  },
  Split(description) {
    const { pattern, behavior, invert } = v.parse(splitSchema, description);
    const found = patternOf(pattern);
    return (text) => splitAt(text, found, behavior, invert);
  },
  Whitespace: () => matchesOf(wordsAndMarks),
  WhitespaceSplit: () => matchesOf(/\P{White_Space}+/gu),
};

const byteLevelSchema = v.looseObject({
  add_prefix_space: v.boolean(),
  use_regex: v.optional(v.boolean(), true),
});
const digitsSchema = v.looseObject({ individual_digits: v.boolean() });
const fixedLengthSchema = v.looseObject({ length: v.pipe(v.number(), v.integer(), v.minValue(1)) });
const punctuationSchema = v.looseObject({ behavior: v.optional(behaviorSchema, "Isolated") });
const splitSchema = v.looseObject({
  pattern: patternSchema,
  behavior: behaviorSchema,
  invert: v.optional(v.boolean(), false),
});
const metaspaceSchema = v.looseObject({
  replacement: v.string(),
  prepend_scheme: v.optional(v.picklist(["always", "first", "never"])),
  add_prefix_space: v.optional(v.boolean(), true),
  split: v.optional(v.boolean(), true),
});
const sequenceSchema = v.looseObject({ pretokenizers: v.array(v.looseObject({})) });

const mark = new RegExp(punctuation, "gv");

/** Rust's `\\w+|[^\\w\\s]+`. */
const wordsAndMarks =
  /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+/gu;

function matchesOf(pattern: RegExp): Cut {
  return function* (text) {
    for (const [part] of text.matchAll(pattern)) yield part;
  };
}

function inTurn(first: Cut, second: Cut): Cut {
  return function* (text, isFirst) {
    let isBegin = isFirst;
    for (const part of first(text, isFirst)) {
      yield* second(part, isBegin && text.startsWith(part));
      isBegin = false;
    }
  };
}

/** GPT-2's pattern, with white space as Unicode has it. */
const words =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

function byteLevel({ add_prefix_space, use_regex }: v.InferOutput<typeof byteLevelSchema>): Cut {
  const library = new ByteLevelPreTokenizer({ type: "ByteLevel", use_regex: false });
  const cut = use_regex ? matchesOf(words) : (text: string) => [text];
  return function* (text, isFirst) {
    const spaced = add_prefix_space && !text.startsWith(" ") ? ` ${text}` : text;
    for (const part of cut(spaced, isFirst)) yield* library.pre_tokenize_text(part);
  };
}

function metaspace(options: v.InferOutput<typeof metaspaceSchema>): Cut {
  const { replacement, split, add_prefix_space } = options;
  const scheme = options.prepend_scheme ?? (add_prefix_space ? "always" : "never");
  return function* (text, isFirst) {
    const marked = text.replaceAll(" ", () => replacement);
    const isBare = !marked.startsWith(replacement) &&
      (scheme === "always" || (scheme === "first" && isFirst));
    const whole = isBare ? replacement + marked : marked;
    let begin = 0;
    while (begin < whole.length) {
      const next = split ? whole.indexOf(replacement, begin + 1) : -1;
      const end = next < 0 ? whole.length : next;
      yield whole.slice(begin, end);
      begin = end;
    }
  };
}

function libraryPreTokenizer(pre_tokenizer: Description): Cut {
  const nothing = { normalizer: null, post_processor: null, decoder: null, added_tokens: [] };
  const model = { type: "BPE", vocab: {}, merges: [] };
  const library = new Tokenizer({ ...nothing, pre_tokenizer, model }, {}).pre_tokenizer!;
  return (text) => library.pre_tokenize(text);
}
