/** Groups examples of similar length into batches. The order depends only on the seed and the epoch. */

import { shuffled } from "../graph/random.ts";
import type { Encoder } from "../models/model.ts";
import { type HeadShape, sequencesOf } from "./step.ts";

/** A tokenized example. */
export interface Encoded {
  /**
   * Token ids of each sequence. A sequence is a text or a joined pair, has at least one token, and is
   * truncated to the task's limit.
   */
  readonly texts: readonly (readonly number[])[];
  /** For each sequence that holds two texts, the position where the second one begins (see `PairTokens`). */
  readonly seconds?: readonly (number | undefined)[];
  /** The class, the index of the right option, or the value to predict. */
  readonly label: number;
}

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
  const longest = Math.max(...texts.map((text) => text.length));
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

/** The inputs of a step, by name. */
export type BatchInputs = Readonly<
  & Record<"ids" | "places" | "types" | "lengths" | "labels", Uint32Array<ArrayBuffer>>
  & Record<"targets" | "weights", Float32Array<ArrayBuffer>>
>;

/** Allocates arrays for the inputs of batches of `size` examples with texts of up to `length` tokens. */
export function inputArrays(model: Encoder, head: HeadShape, size: number, length: number): BatchInputs {
  const sequences = size * sequencesOf(model, head);
  return {
    ids: new Uint32Array(sequences * length),
    places: Uint32Array.from({ length: sequences * length }, (_, i) => i % length),
    types: new Uint32Array(sequences * length),
    lengths: new Uint32Array(sequences),
    labels: new Uint32Array(size),
    targets: new Float32Array(size),
    weights: new Float32Array(size),
  };
}

/**
 * Fills the inputs of a step for a batch of `size` rows. Missing rows repeat the first one with weight 0.
 * Callers that run many batches pass the same arrays again, so that a step allocates nothing.
 */
export function batchInputs(
  model: Encoder,
  head: HeadShape,
  size: number,
  { length, indices }: Batch,
  examples: readonly Encoded[],
  into: BatchInputs = inputArrays(model, head, size, length),
): BatchInputs {
  const { ids, places, types, lengths, labels, targets, weights } = into;
  const perExample = sequencesOf(model, head);
  const placeOf = model.tokenizePair
    ? (row: number, t: number) => row * perExample + t
    : (row: number, t: number) => t === 0 ? row : size + row * (perExample - 1) + t - 1;
  ids.fill(0);
  types.fill(0);
  for (let row = 0; row < size; row++) {
    const { texts, seconds, label } = examples[indices[row] ?? indices[0]];
    texts.forEach((text, t) => {
      const at = placeOf(row, t);
      ids.set(text, at * length);
      if (model.placesOf) {
        places.fill(0, at * length, (at + 1) * length).set(model.placesOf(text), at * length);
      }
      types.fill(1, at * length + (seconds?.[t] ?? text.length), at * length + text.length);
      lengths[at] = text.length;
    });
    labels[row] = label;
    targets[row] = label;
    weights[row] = row < indices.length ? 1 : 0;
  }
  return into;
}
