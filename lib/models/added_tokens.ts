/** Tokens that are found in a text before anything else is done to it, as Hugging Face's tokenizers in Rust finds them. */

import * as v from "npm:valibot@1.5.0";

/** A token that is added, and how it is found. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

/** One of the `added_tokens` of a `tokenizer.json`. */
export const addedTokenSchema: v.GenericSchema<unknown, AddedToken> = v.looseObject({
  id: v.pipe(v.number(), v.integer(), v.minValue(0)),
  content: v.string(),
  single_word: v.optional(v.boolean(), false),
  lstrip: v.optional(v.boolean(), false),
  rstrip: v.optional(v.boolean(), false),
  normalized: v.optional(v.boolean(), true),
  special: v.optional(v.boolean(), false),
});

/** A token's id, or text between tokens, and where in the text it begins. */
export type Section = { readonly id: number } | { readonly text: string; readonly begin: number };

/**
 * Cuts texts at `tokens`: the leftmost, and of those that begin alike the longest, is found first. One that is a `single_word` is
 * none beside a letter; `lstrip` and `rstrip` take the white space beside them along. `contentOf` gives what stands for a token in
 * the text.
 */
export function sectionsAt(
  tokens: readonly AddedToken[],
  contentOf: (token: AddedToken) => string,
): (text: string) => Section[] {
  const byContent = new Map(tokens.map((token) => [contentOf(token), token]));
  byContent.delete("");
  if (byContent.size === 0) return (text) => text ? [{ text, begin: 0 }] : [];
  const contents = [...byContent.keys()].sort((a, b) => b.length - a.length).map(RegExp.escape);
  const pattern = new RegExp(contents.join("|"), "gu");
  return (text) => {
    const sections: Section[] = [];
    let done = 0;
    const addText = (end: number) => {
      if (end > done) sections.push({ text: text.slice(done, end), begin: done });
    };
    for (const { 0: content, index } of text.matchAll(pattern)) {
      const token = byContent.get(content)!;
      const after = index + content.length;
      if (index < done || (token.single_word && !standsAlone(text, index, after))) continue;
      addText(token.lstrip ? Math.max(done, beforeSpaces(text, index)) : index);
      sections.push({ id: token.id });
      done = token.rstrip ? afterSpaces(text, after) : after;
    }
    addText(text.length);
    return sections;
  };
}

const wordLetter = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;

/** Whether there is no letter right before `begin` and right after `end`. */
function standsAlone(text: string, begin: number, end: number): boolean {
  const before = text.slice(Math.max(0, begin - 2), begin).match(/.$/su)?.[0] ?? "";
  const after = text.slice(end, end + 2).match(/^./su)?.[0] ?? "";
  return !wordLetter.test(before) && !wordLetter.test(after);
}

function beforeSpaces(text: string, end: number): number {
  let begin = end;
  while (begin > 0 && /\p{White_Space}/u.test(text[begin - 1])) begin--;
  return begin;
}

function afterSpaces(text: string, begin: number): number {
  let end = begin;
  while (end < text.length && /\p{White_Space}/u.test(text[end])) end++;
  return end;
}
