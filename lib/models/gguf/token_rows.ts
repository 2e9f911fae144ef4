/** The tokens of a GGUF file by the rows of the model's table. */

import type { AddedToken } from "../added_tokens.ts";
import type { GgufValue } from "./metadata.ts";

/** Values of `tokenizer.ggml.token_type` (gguf-py: `TokenType`). */
export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5 };

/** A token a row, and its type. */
export interface TokenRows {
  readonly tokens: string[];
  readonly types: Int32Array<ArrayBuffer>;
}

/** The rows of a table of `count`: those without a token get a name of their own and are unused. */
export function tokenRows(
  count: number,
  vocabulary: Iterable<readonly [token: string, id: number]>,
  added: readonly AddedToken[],
): TokenRows {
  const tokens = Array.from({ length: count }, (_, id) => `[PAD${id}]`);
  const types = new Int32Array(count).fill(tokenTypes.unused);
  for (const [token, id] of vocabulary) [tokens[id], types[id]] = [token, tokenTypes.normal];
  for (const { content, id, special } of added) {
    [tokens[id], types[id]] = [content, special ? tokenTypes.control : tokenTypes.userDefined];
  }
  return { tokens, types };
}

/** What a file says of them. */
export function tokenEntries({ tokens, types }: TokenRows): [string, GgufValue][] {
  return [
    ["tokenizer.ggml.tokens", { type: "array", value: tokens }],
    ["tokenizer.ggml.token_type", { type: "array", value: types }],
  ];
}

/** The ids of marks, by what GGUF calls them; those that are undefined are left out. */
export function markEntries(ids: Readonly<Record<string, number | undefined>>): [string, GgufValue][] {
  return Object.entries(ids).flatMap(([name, id]): [string, GgufValue][] =>
    id === undefined ? [] : [[`tokenizer.ggml.${name}_token_id`, { type: "uint32", value: id }]]
  );
}

/**
 * Throws an Error that names the file at `path` for an added token that takes the space beside it along or stands alone: GGUF cannot
 * say that.
 */
export function checkAdded(path: string, added: readonly AddedToken[]): void {
  const odd = added.find(({ lstrip, rstrip, single_word }) => lstrip || rstrip || single_word);
  if (!odd) return;
  throw new Error(
    `${path}: the token ${
      JSON.stringify(odd.content)
    } takes the space beside it along or stands alone, which GGUF cannot say`,
  );
}
