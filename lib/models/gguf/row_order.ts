/**
 * The rows of llama.cpp's queries and keys. Its converter for the architecture `llama` moves the rows of each head so that
 * the two elements that a rotation turns are neighbours (conversion/llama.py, `permute`); Hugging Face's models have them
 * half a head apart. With heads of n rows, for s = 0 and 1 and i < n / 2:
 *
 *     file's row 2 i + s  =  row s n / 2 + i
 *
 * A row's blocks stay together, so that rows of any type can be moved as they are.
 */

import { show } from "../../show.ts";
import type { GgufPlace } from "./header.ts";

/**
 * The file's row for each of a tensor's rows in Hugging Face's order, and of a vector's elements. Undefined when `heads` heads of
 * an even number of rows do not make so many.
 */
export function rowInPairs(rows: number, heads: number): ((row: number) => number) | undefined {
  const size = rows / heads;
  if (!Number.isInteger(heads) || !(size > 0) || size % 2 !== 0) return undefined;
  return (row) => {
    const within = row % size;
    return row - within + 2 * (within % (size / 2)) + Math.floor(2 * within / size);
  };
}

/**
 * The tensor with its rows in Hugging Face's order; of a vector, its elements. Keys have as many heads as there are heads
 * of keys. Throws an Error when that many heads of an even number of rows do not make the tensor.
 */
export function inHalves(place: GgufPlace, heads: number): GgufPlace {
  const rowAt = rowInPairs(place.shape[0], heads);
  if (rowAt) return { ...place, rowAt };
  throw new Error(
    `${place.origin}: tensor ${
      show(place.name)
    } is [${place.shape}], no ${heads} heads of an even number of rows: see the head counts in its metadata`,
  );
}
