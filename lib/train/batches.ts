/** Examples into length-bucketed batches, in an order that depends on the seed and the epoch only. */

import { shuffled } from "../graph/random.ts";
import type { Encoder } from "../models/model.ts";
import { type HeadShape, sequencesOf } from "./step.ts";

/** An example ready for the model. */
export interface Encoded {
  /** Token ids of each sequence, a text or a pair, at least one long and cut to the task's limit. */
  readonly texts: readonly (readonly number[])[];
  /** Where the second text begins in each sequence that holds two (see `PairTokens`). */
  readonly seconds?: readonly (number | undefined)[];
  /** Class, right option, or value. */
  readonly label: number;
}

/** A batch: rows of examples, and the padded length of their texts. */
export interface Batch {
  readonly length: number;
  /** Indices of the examples; fewer than the batch size only in the last batch. */
  readonly indices: readonly number[];
}

/** Padded lengths; few, since each is a program of its own. Longer texts are padded to a multiple of `longStep`. */
const buckets = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const longStep = 128;

/** The smallest padded length that holds every text of the example. */
export function bucketOf({ texts }: Encoded): number {
  const longest = Math.max(...texts.map((text) => text.length));
  return buckets.find((length) => length >= longest) ?? Math.ceil(longest / longStep) * longStep;
}

/**
 * Batches of `size` over all examples once. Within a bucket the order is random; what is left over of a bucket joins
 * the next longer one, so that only one batch of an epoch is not full. Batches come in random order.
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

/** Arrays for the inputs of batches of `size` examples whose texts are up to `length` long. */
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
 * The inputs of a step for a batch of `size` rows: missing rows repeat the first one with weight 0. Who runs many batches passes
 * the same arrays again, so that a step asks for no memory.
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
