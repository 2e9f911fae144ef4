/** What a tokenizer does to a text before it cuts it, as Hugging Face's tokenizers in Rust does it. */

import { Tokenizer } from "npm:@huggingface/tokenizers@0.2.0";
import * as v from "npm:valibot@1.5.0";
import { precompiledNormalizer } from "./precompiled_normalizer.ts";
import { control, lowercase, nonspacingMark, normalForm } from "./rust_unicode.ts";
import { patternOf, patternSchema } from "./split_pattern.ts";

type Normalize = (text: string) => string;

/** A part of a `tokenizer.json`. */
type Description = Readonly<Record<string, unknown>>;

/**
 * The normalizer of this description; null leaves texts as they are.
 * @throws Error naming the kind that is not known, or what is wrong with the description.
 */
export function normalizerOf(description: Description | null): Normalize {
  if (description === null) return (text) => text;
  const kind = kinds[description.type as string];
  return kind ? kind(description) : libraryNormalizer(description);
}

/** The kinds that the npm library has otherwise than the one in Rust. */
const kinds: Readonly<Record<string, (description: Description) => Normalize>> = {
  BertNormalizer: (description) => bertNormalizer(v.parse(bertSchema, description)),
  Lowercase: () => lowercase,
  NFC: () => (text) => normalForm(text, "NFC"),
  NFD: () => (text) => normalForm(text, "NFD"),
  NFKC: () => (text) => normalForm(text, "NFKC"),
  NFKD: () => (text) => normalForm(text, "NFKD"),
  Precompiled(description) {
    const { precompiled_charsmap } = v.parse(precompiledSchema, description);
    return precompiled_charsmap ? precompiledNormalizer(precompiled_charsmap) : (text) => text;
  },
  Prepend(description) {
    const { prepend } = v.parse(prependSchema, description);
    return (text) => text && prepend + text;
  },
  Replace(description) {
    const { pattern, content } = v.parse(replaceSchema, description);
    const found = patternOf(pattern);
    // By a function, for the content is no JavaScript pattern: "$&" is these two characters.
    return (text) => text.replace(found, () => content);
  },
  Sequence(description) {
    const steps = v.parse(sequenceSchema, description).normalizers.map(normalizerOf);
    return (text) => steps.reduce((done, step) => step(done), text);
  },
  Strip(description) {
    const { strip_left, strip_right } = v.parse(stripSchema, description);
    const left = strip_left ? /^\p{White_Space}+/u : /^/;
    return (text) => trimEnd(text.replace(left, ""), strip_right);
  },
};

const bertSchema = v.looseObject({
  clean_text: v.optional(v.boolean(), true),
  handle_chinese_chars: v.optional(v.boolean(), true),
  strip_accents: v.nullish(v.boolean()),
  lowercase: v.optional(v.boolean(), true),
});
const precompiledSchema = v.looseObject({ precompiled_charsmap: v.nullish(v.string()) });
const prependSchema = v.looseObject({ prepend: v.string() });
const replaceSchema = v.looseObject({ pattern: patternSchema, content: v.string() });
const sequenceSchema = v.looseObject({ normalizers: v.array(v.looseObject({})) });
const stripSchema = v.looseObject({ strip_left: v.boolean(), strip_right: v.boolean() });

/** CJK ideographs, as BERT's own code lists them: without those that Unicode added after version 8. */
const chinese =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;

function bertNormalizer(options: v.InferOutput<typeof bertSchema>): Normalize {
  const clean: Normalize = (text) => text.replace(control, "").replace(/\p{White_Space}/gu, " ");
  const steps: Normalize[] = [];
  if (options.clean_text) steps.push(clean);
  if (options.handle_chinese_chars) steps.push((text) => text.replace(chinese, " $& "));
  if (options.strip_accents ?? options.lowercase) {
    steps.push((text) => normalForm(text, "NFD").replace(nonspacingMark, ""));
  }
  if (options.lowercase) steps.push(lowercase);
  return (text) => steps.reduce((done, step) => step(done), text);
}

/** `text` without white space at its end, found from behind: a pattern would try every run of spaces. */
function trimEnd(text: string, wanted: boolean): string {
  let end = text.length;
  while (wanted && end > 0 && /\p{White_Space}/u.test(text[end - 1])) end--;
  return text.slice(0, end);
}

function libraryNormalizer(normalizer: Description): Normalize {
  const nothing = { pre_tokenizer: null, post_processor: null, decoder: null, added_tokens: [] };
  const model = { type: "BPE", vocab: {}, merges: [] };
  const library = new Tokenizer({ ...nothing, normalizer, model }, {}).normalizer!;
  return (text) => library.normalize(text);
}
