/** The logits of what can come next: those of the tokenizer's tokens. */

import type { DecoderTokenizer } from "../models/decoder_tokenizer.ts";

/** A copy of the logits of ids below `size`, in which those that are no token's are −∞. */
export function tokenLogits(
  logits: Float32Array,
  { size, unused }: Pick<DecoderTokenizer, "size" | "unused">,
): Float32Array {
  const own = logits.slice(0, size);
  for (const id of unused) own[id] = -Infinity;
  return own;
}
