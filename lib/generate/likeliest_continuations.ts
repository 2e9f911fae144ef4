/** Which of some continuations a causal model finds the likeliest after each of many prompts. */

import { makeBatches } from "../run/batches.ts";
import type { Answering } from "./evaluate.ts";

/**
 * For each prompt the index of the continuation with the highest Σ log p over its tokens; of equal ones, the first. Prompts of
 * about the same length are read together, `batchSize` at a time.
 * @throws Error as `Writer.score` does, and first one that names a prompt that is too long for the model.
 */
export async function likeliestContinuations(
  writer: Answering,
  prompts: readonly string[],
  continuations: readonly string[],
  batchSize: number,
): Promise<number[]> {
  const found = new Array<number>(prompts.length);
  const encoded = prompts.map((prompt) => ({ texts: [writer.idsOf(prompt)], label: 0 }));
  checkRoom(writer, encoded.map(({ texts: [ids] }) => ids.length), continuations);
  const batches = makeBatches(encoded, batchSize, 0, 0).toSorted((a, b) => b.length - a.length);
  for (const { indices } of batches) {
    // A batch that is not full repeats its first prompt: another number of texts would need other programs.
    const ids = Array.from({ length: batchSize }, (_, i) => encoded[indices[i] ?? indices[0]].texts[0]);
    const scores = await writer.scoreEach(ids, ids.map(() => continuations));
    for (const [row, index] of indices.entries()) {
      found[index] = scores[row].indexOf(Math.max(...scores[row]));
    }
  }
  return found;
}

/** Throws an Error that names the first prompt that is too long for the model with the longest continuation. */
function checkRoom(
  writer: Answering,
  lengths: readonly number[],
  continuations: readonly string[],
): void {
  const most = Math.max(...continuations.map((own) => writer.continuationIds(own).length));
  const long = lengths.findIndex((length) => length + most > writer.maxTokens);
  if (long < 0) return;
  throw new Error(
    `prompt ${long} has ${
      lengths[long]
    } tokens, and ${most} more are scored: the model reads ${writer.maxTokens} in all`,
  );
}
