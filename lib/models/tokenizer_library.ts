/** Hugging Face's tokenizer library for JavaScript, with a mend: its Unigram models take texts of any length. */

import { Tokenizer } from "npm:@huggingface/tokenizers@0.2.0";

/** A model of pieces, as the library has it. */
interface Unigram {
  tokenize(text: string): string[];
}

function isUnigram(model: object | null): model is Unigram {
  return model !== null && "tokenize" in model && "unk_score" in model;
}

/** The tokenizer that a `tokenizer.json` describes. Throws what the library throws at a description that it cannot build. */
export function makeTokenizer(description: object): Tokenizer {
  const tokenizer = new Tokenizer(description, {});
  const { model } = tokenizer;
  // Its own `encode` passes the pieces of a text as arguments to a call, and the stack holds some 120,000.
  if (isUnigram(model)) model.encode = (texts) => texts.flatMap((text) => model.tokenize(text));
  return tokenizer;
}
