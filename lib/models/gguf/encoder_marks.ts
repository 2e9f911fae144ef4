/** The marks of RoBERTa and XLM-RoBERTa in GGUF: `<s> A </s>`, and `<s> A </s></s> B </s>`. */

import type { AddedToken } from "../added_tokens.ts";
import type { Marks } from "../hugging_face_tokenizer.ts";
import type { GgufValue } from "./metadata.ts";
import { checkAdded, markEntries } from "./token_rows.ts";

/** It takes the space before it along, which GGUF cannot say; it stands in texts for pre-training alone. */
const mask = "<mask>";

/** Throws as `checkAdded` does. */
export function checkMarks(path: string, added: readonly AddedToken[]): void {
  checkAdded(path, added.filter(({ content }) => content !== mask));
}

/** The entries for marks, which llama.cpp puts around every text. */
export function encoderMarks(
  tokens: readonly string[],
  { begin, end }: Marks,
  unknown: string | undefined,
): [string, GgufValue][] {
  const idOf = (token: string | undefined) => {
    const id = token === undefined ? -1 : tokens.indexOf(token);
    return id < 0 ? undefined : id;
  };
  const flags = ["bos", "eos", "sep"].map((mark): [string, GgufValue] => [
    `tokenizer.ggml.add_${mark}_token`,
    { type: "bool", value: true },
  ]);
  return [
    ...markEntries({
      ...{ bos: begin, cls: begin, eos: end, seperator: end },
      unknown: idOf(unknown),
      padding: idOf("<pad>"),
      mask: idOf(mask),
    }),
    ...flags,
  ];
}
