/** The ids of texts whose vectors are wanted of a decoder: cut and closed as transformers' tokenizers do it. */

import type { DecoderTokenizer } from "./decoder_tokenizer.ts";

/** At most `most` ids: the mark of beginning, as much of the text as has room, and the marks that close it. */
export function vectorTextIds(tokenizer: DecoderTokenizer, text: string, most: number): number[] {
  const { closing, cutsBeginning } = tokenizer;
  const bare = tokenizer.encode(text);
  // Not twice where the text spells it, as in `encode`.
  const begin = tokenizer.encode("", { addMarks: true }).filter((mark) => mark !== bare[0]);
  const room = Math.max(0, most - begin.length - closing.length);
  const kept = cutsBeginning ? bare.slice(Math.max(0, bare.length - room)) : bare.slice(0, room);
  return [...begin, ...kept, ...closing].slice(0, most);
}
