/** Groups examples of similar length into batches. The order depends only on the seed and the epoch. */

import { shuffled } from "../graph/random.ts";
import type { Model } from "../models/model.ts";
import type { BatchShape, Encoded, InputArrays, Objective } from "../objectives/objective.ts";

/** A batch: its examples, and the length that their texts are padded to. */
export interface Batch {
  readonly length: number;
  /** Indices of the examples. Only the last batch may have fewer than the batch size. */
  readonly indices: readonly number[];
}

/**
 * Padded lengths. There are few, because each needs a compiled program. Longer texts are padded to a multiple
 * of `longStep`.
 */
const buckets = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const longStep = 128;

/** The smallest padded length that holds every text of the example. */
export function bucketOf({ texts }: Encoded): number {
  return bucketOfLength(Math.max(...texts.map((text) => text.length)));
}

/** The smallest padded length that holds this many tokens. */
export function bucketOfLength(longest: number): number {
  return buckets.find((length) => length >= longest) ?? Math.ceil(longest / longStep) * longStep;
}

/**
 * Splits all examples into batches of `size`, for one epoch. Within a bucket the order is random. A bucket's
 * remainder moves to the next longer bucket, so only one batch of an epoch is not full. Batches come in
 * random order.
 */
export function makeBatches(
  examples: readonly Encoded[],
  size: number,
  seed: number,
  epoch: number,
): Batch[] {
  const order = shuffled(seed, 2 * epoch, examples.length);
  const byBucket = Map.groupBy(order, (index) => bucketOf(examples[index]));
  const batches: Batch[] = [];
  const batchOf = (indices: number[]) => ({ length: longestOf(examples, indices), indices });
  let waiting: number[] = [];
  for (const [, own] of [...byBucket].sort(([a], [b]) => a - b)) {
    const all = waiting.concat(own);
    const full = all.length - all.length % size;
    for (let at = 0; at < full; at += size) batches.push(batchOf(all.slice(at, at + size)));
    waiting = all.slice(full);
  }
  if (waiting.length > 0) batches.push(batchOf(waiting));
  return shuffled(seed, 2 * epoch + 1, batches.length).map((index) => batches[index]);
}

function longestOf(examples: readonly Encoded[], indices: readonly number[]): number {
  return Math.max(...indices.map((index) => bucketOf(examples[index])));
}

/** Arrays of a batch's tokens, which are inputs of every step. */
function tokenArrays(sequences: number, length: number) {
  return {
    ids: new Uint32Array(sequences * length),
    places: Uint32Array.from({ length: sequences * length }, (_, i) => i % length),
    types: new Uint32Array(sequences * length),
    lengths: new Uint32Array(sequences),
  };
}

/** The inputs of a step, by name. */
export type BatchInputs = ReturnType<typeof tokenArrays> & InputArrays;

/** Allocates arrays for the inputs of batches of this size. */
export function inputArrays(objective: Objective, shape: BatchShape): BatchInputs {
  return { ...tokenArrays(shape.examples * objective.sequences, shape.length), ...objective.inputs(shape) };
}

/** The size of a batch of up to `size` examples. */
export function shapeOf(
  objective: Objective,
  size: number,
  { length, indices }: Batch,
  examples: readonly Encoded[],
): BatchShape {
  return { examples: size, length, rows: objective.rowsOf(indices.map((index) => examples[index])) };
}

/** A name for programs of batches of this size. */
export function keyOf({ length, rows }: BatchShape): string {
  return rows === 0 ? `${length}` : `${length}, ${rows} learnt`;
}

/**
 * Fills the inputs of a step for a batch. Missing examples repeat the first one, and count for nothing in the objective's loss.
 * Callers that run many batches pass the same arrays again, so that a step allocates nothing.
 */
export function batchInputs(
  { placesOf }: Model,
  objective: Objective,
  shape: BatchShape,
  { indices }: Batch,
  examples: readonly Encoded[],
  into: BatchInputs = inputArrays(objective, shape),
): BatchInputs {
  const { examples: size, length } = shape;
  const { ids, places, types, lengths } = into;
  ids.fill(0);
  types.fill(0);
  for (let row = 0; row < size; row++) {
    const { texts, seconds } = examples[indices[row] ?? indices[0]];
    texts.forEach((text, t) => {
      const at = objective.placeOf(row, t, size);
      ids.set(text, at * length);
      if (placesOf) places.fill(0, at * length, (at + 1) * length).set(placesOf(text), at * length);
      types.fill(1, at * length + (seconds?.[t] ?? text.length), at * length + text.length);
      lengths[at] = text.length;
    });
  }
  objective.write(into, indices.map((index) => examples[index]), shape);
  return into;
}
