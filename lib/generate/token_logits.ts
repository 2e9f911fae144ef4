/** The logits of what can come next: those of the tokenizer's tokens. */

import type { DecoderTokenizer } from "../models/decoder_tokenizer.ts";

/**
 * A copy of the logits of ids below `size`, in which those that are no token's are −∞.
 * @throws Error as `checkFinite` does.
 */
export function tokenLogits(
  logits: Float32Array,
  { size, unused }: Pick<DecoderTokenizer, "size" | "unused">,
): Float32Array {
  const own = logits.slice(0, size);
  checkFinite(own, "the logits of the next token");
  for (const id of unused) own[id] = -Infinity;
  return own;
}

/** Throws an Error that begins with `what` when one of the values that a model computed is infinite or no number. */
export function checkFinite(values: ArrayLike<number>, what: string): void {
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) continue;
    throw new Error(`${what} are not finite (${values[i]}): the model or its adapter is broken`);
  }
}
