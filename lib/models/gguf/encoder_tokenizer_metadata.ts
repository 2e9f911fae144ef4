/** An encoder's tokenizer as `tokenizer.ggml.*` of a GGUF file. */

import { show } from "../../show.ts";
import { type DescribedTokenizer, readDescribedTokenizer } from "../hugging_face_tokenizer.ts";
import { byteLevelEntries } from "./byte_level_metadata.ts";
import type { GgufValue } from "./metadata.ts";
import { unigramEntries } from "./unigram_metadata.ts";
import { wordPieceEntries } from "./word_piece_metadata.ts";

/** What a kind of tokenizer makes of its description, for a model with `rows` rows. */
type Entries = (tokenizer: DescribedTokenizer, rows: number) => [string, GgufValue][];

/** By the type of the model in a `tokenizer.json`. */
const kinds: Readonly<Record<string, Entries>> = {
  WordPiece: wordPieceEntries,
  BPE: byteLevelEntries,
  Unigram: unigramEntries,
};

/**
 * The metadata of the tokenizer in `folder`, for an encoder with `rows` rows in its table of tokens.
 * @throws Error that names the file, for a kind or a setting that llama.cpp does not have; and what `readDescribedTokenizer` throws.
 */
export async function encoderTokenizerMetadata(
  folder: string,
  rows: number,
): Promise<[string, GgufValue][]> {
  const tokenizer = await readDescribedTokenizer(folder);
  const { path, description: { model: { type } } } = tokenizer;
  const entriesOf = typeof type === "string" && Object.hasOwn(kinds, type) ? kinds[type] : undefined;
  if (entriesOf) return entriesOf(tokenizer, rows);
  throw new Error(
    `${path}: its model is of type ${show(String(type))}, and llama.cpp has ${
      Object.keys(kinds).join(", ")
    }: ` +
      `merge it into a folder`,
  );
}
