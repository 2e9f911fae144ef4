/** Which of some continuations a causal model finds the likeliest after each of many prompts. */

import { makeBatches } from "../run/batches.ts";
import type { Writer } from "./writer.ts";

/**
 * For each prompt the index of the continuation with the highest Σ log p over its tokens; of equal ones, the first. Prompts of
 * about the same length are read together, `batchSize` at a time.
 * @throws Error as `Writer.score` does.
 */
export async function likeliest(
  writer: Writer,
  prompts: readonly string[],
  continuations: readonly string[],
  batchSize: number,
): Promise<number[]> {
  const found = new Array<number>(prompts.length);
  const encoded = prompts.map((prompt) => ({ texts: [writer.idsOf(prompt)], label: 0 }));
  const batches = makeBatches(encoded, batchSize, 0, 0).toSorted((a, b) => b.length - a.length);
  for (const { indices } of batches) {
    // A batch that is not full repeats its first prompt: another number of texts would need other programs.
    const ids = Array.from({ length: batchSize }, (_, i) => encoded[indices[i] ?? indices[0]].texts[0]);
    const scores = await writer.score(ids, continuations);
    for (const [row, index] of indices.entries()) {
      found[index] = scores[row].indexOf(Math.max(...scores[row]));
    }
  }
  return found;
}
