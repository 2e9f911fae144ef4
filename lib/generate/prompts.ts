/** Prompts of a causal model and what may come after them: their ids, and which the model cannot read. */

import type { Decoder } from "../models/model.ts";
import { show } from "../show.ts";

/** A prompt: a text, or ids with all marks. */
export type Prompt = string | readonly number[];

/** The ids of a prompt. Special tokens that a text spells are text. Throws an Error for a text with half a surrogate pair. */
export function promptIds({ language: { tokenizer } }: Decoder, prompt: Prompt): readonly number[] {
  if (typeof prompt !== "string") return prompt;
  checkWhole(prompt);
  return tokenizer.encode(prompt, { addMarks: true, specialAsText: true });
}

/** The ids of a text that goes on after a prompt, without marks. Throws as `promptIds` does. */
export function continuationIds(
  { language: { tokenizer } }: Decoder,
  continuation: Prompt,
): readonly number[] {
  if (typeof continuation !== "string") return continuation;
  checkWhole(continuation);
  return tokenizer.encode(continuation, { continues: true, specialAsText: true });
}

/**
 * Throws an Error when there are no prompts, and one that names the first prompt that is empty, has an id that is none of the
 * model's, or is too long for the model with so many new tokens of its own.
 */
export function checkPrompts(
  { name, maxTokens, vocabulary }: Decoder,
  prompts: readonly (readonly number[])[],
  newTokensOf: (prompt: number) => number,
): void {
  if (prompts.length === 0) throw new Error("there are no prompts");
  for (const [i, prompt] of prompts.entries()) {
    const newTokens = newTokensOf(i);
    if (!(Number.isSafeInteger(newTokens) && newTokens >= 1)) {
      throw new Error(`maxTokens is ${newTokens}: use a whole number from 1`);
    }
    if (prompt.length === 0) throw new Error(`prompt ${i} is empty: there is nothing to go on from`);
    const wrong = prompt.find((id) => !isIdBelow(vocabulary, id));
    if (wrong !== undefined) throw new Error(`prompt ${i} has the id ${wrong}, which is none of ${name}'s`);
    if (prompt.length + newTokens > maxTokens!) {
      throw new Error(
        `prompt ${i} has ${prompt.length} tokens, and ${newTokens} new ones are wanted: ${name} reads ${maxTokens} in all`,
      );
    }
  }
}

/** Throws an Error when not each prompt has continuations, or one of them is empty or has an id that is no token's. */
export function checkContinuations(
  { name, language: { tokenizer: { size, unused } } }: Decoder,
  prompts: number,
  all: readonly (readonly (readonly number[])[])[],
): void {
  if (prompts !== all.length) throw new Error(`${all.length} lists of continuations for ${prompts} prompts`);
  for (const [i, own] of all.entries()) {
    if (own.length === 0) throw new Error(`prompt ${i} has no continuations: there is nothing to score`);
    for (const [j, ids] of own.entries()) {
      const what = `continuation ${j} of prompt ${i}`;
      if (ids.length === 0) throw new Error(`${what} is empty: there is nothing to score`);
      const wrong = ids.find((id) => !isIdBelow(size, id) || unused.includes(id));
      if (wrong !== undefined) throw new Error(`${what} has the id ${wrong}, which is no token of ${name}'s`);
    }
  }
}

/** Throws an Error for half a surrogate pair, as where a text was cut by its length: the model would read U+FFFD. */
function checkWhole(text: string): void {
  if (!text.isWellFormed()) throw new Error(`${show(text)} has half a surrogate pair: give whole characters`);
}

/** Whether `id` is a whole number from 0 and below `size`. */
function isIdBelow(size: number, id: number): boolean {
  return Number.isInteger(id) && id >= 0 && id < size;
}
