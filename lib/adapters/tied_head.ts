/**
 * Embeddings that are trained whole and are the head as well, in decoders that tie the two. PEFT computes with the trained table in
 * both places only if its folder holds the head too (peft 0.21 writes it with `ensure_weight_tying`); without it the head keeps the
 * base's values.
 */

import { outputTable } from "../models/llama.ts";
import type { Model, Weight } from "../models/model.ts";
import type { Adapter } from "./attach.ts";

/** The head's module, and its tensor in PEFT's files. */
export const headModule = "lm_head";
export const headCopy: string = outputTable({ tied: false });

/** The embeddings that are also the head, where the adapter trains them; otherwise undefined. */
export function trainedAsHead({ language }: Model, { trainedBase }: Adapter): string | undefined {
  const output = language?.output;
  return output !== undefined && output !== headCopy && trainedBase.has(output) ? output : undefined;
}

/**
 * Throws an Error unless the head in the file at `path` is the trained table. `isOwn`: this library wrote the file, whose
 * earlier ones held no head and meant the table.
 */
export function checkHeadCopy(path: string, table: Weight, copy: Weight | undefined, isOwn: boolean): void {
  if (copy ? areEqual(copy, table) : isOwn) return;
  const what = copy ? "another head than the embeddings" : "the embeddings alone";
  throw new Error(
    `${path}: holds ${what} that were trained, and in this model both are one table, which PEFT trains as two: ` +
      `train it with ensure_weight_tying=True`,
  );
}

function areEqual(a: Weight, b: Weight): boolean {
  return a.shape.join() === b.shape.join() && a.data.every((value, i) => value === b.data[i]);
}
