/** Which token comes next, from the logits: as transformers defines penalty, temperature, top-k and top-p, on float32 logits. */

import { randomBits } from "../graph/random.ts";

/** How tokens are chosen. */
export interface SamplingOptions {
  /** Divides the logits; 0, the default, always takes the likeliest token. */
  readonly temperature?: number;
  /** Only so many of the likeliest tokens are drawn from; by default all. */
  readonly topK?: number;
  /** Only the likeliest tokens are drawn from before which less than this share of probability lies; by default all. */
  readonly topP?: number;
  /**
   * Makes tokens that are in the prompt or were written less likely: their positive logits are divided by it, their negative ones
   * multiplied, each once. 1, the default, does nothing.
   */
  readonly repetitionPenalty?: number;
  /** Decides what is drawn; 0 by default. Text i of a batch draws what it would draw alone as text i. */
  readonly seed?: number;
  /** Which text of a larger batch a call's first is, 0 by default: texts of several calls then draw what they would draw in one. */
  readonly firstRow?: number;
}

/** Throws an Error that names the option whose value is not allowed. */
export function checkSampling(
  { temperature = 0, topK = 1, topP = 1, repetitionPenalty = 1, seed = 0, firstRow = 0 }: SamplingOptions,
): void {
  const refuse = (name: string, value: number, wanted: string) => {
    throw new Error(`${name} is ${value}: use ${wanted}`);
  };
  if (!(Number.isFinite(temperature) && temperature >= 0)) {
    refuse("temperature", temperature, "a number from 0");
  }
  if (!(Number.isSafeInteger(topK) && topK >= 1)) refuse("topK", topK, "a whole number from 1");
  if (!(Number.isFinite(topP) && topP >= 0 && topP <= 1)) refuse("topP", topP, "a share from 0 to 1");
  if (!(Number.isFinite(repetitionPenalty) && repetitionPenalty > 0)) {
    refuse("repetitionPenalty", repetitionPenalty, "a number above 0");
  }
  if (!(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)) {
    refuse("seed", seed, "a whole number below 2³²");
  }
  if (!(Number.isSafeInteger(firstRow) && firstRow >= 0)) {
    refuse("firstRow", firstRow, "a whole number from 0");
  }
}

/** Divides or multiplies the values of these tokens, each once. Changes `values`. */
export function penalize(values: Float32Array, seen: Iterable<number>, penalty: number): void {
  if (penalty === 1) return;
  for (const id of new Set(seen)) {
    values[id] = values[id] > 0 ? values[id] / penalty : values[id] * penalty;
  }
}

/** The index of the highest value; of equal ones, the first. */
export function indexOfHighest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/**
 * The next token, from the logits of `tokenLogits`, which it changes. `seen` are the text's ids so far, `step` counts its new tokens,
 * `row` is its place in the batch.
 */
export function nextToken(
  values: Float32Array,
  seen: readonly number[],
  { row, step }: { readonly row: number; readonly step: number },
  { temperature = 0, topK = Infinity, topP = 1, repetitionPenalty = 1, seed = 0, firstRow = 0 }:
    SamplingOptions,
): number {
  penalize(values, seen, repetitionPenalty);
  if (temperature === 0) return indexOfHighest(values);
  const order = byValue(values).slice(0, topK);
  const top = values[order[0]];
  const shares = order.map((id) => Math.exp((values[id] - top) / temperature));
  const total = shares.reduce((sum, share) => sum + share, 0);
  const kept = keptCount(shares.map((share) => share / total), topP);
  const among = shares.slice(0, kept).reduce((sum, share) => sum + share, 0);
  let left = randomBits(seed, step, firstRow + row, 0) / 2 ** 32 * among;
  for (let i = 0; i < kept; i++) {
    left -= shares[i];
    if (left < 0) return order[i];
  }
  return order[kept - 1];
}

/** Bits of an id, with those of a float32 in one float64's integers. */
const idBits = 2 ** 21;

/**
 * The indices of up to 2²¹ values, the highest first; of equal ones, the first. Sorted as numbers that have value and index in
 * them: a vocabulary is sorted for each token, and a sort that compares by a function takes several times as long.
 */
export function byValue(values: Float32Array): number[] {
  const bits = new Int32Array(Float32Array.from(values, (value) => value + 0).buffer);
  // The bits of floats are in their order where positive, and in the opposite order where negative.
  const keys = Float64Array.from(bits, (own, i) => (own < 0 ? -(own & 0x7fffffff) : own) * idBits - i);
  return Array.from(keys.sort().reverse(), (key) => (idBits - key % idBits) % idBits);
}

/** How many of the shares, highest first, are kept: those before which less than `topP` lies, and the first in any case. */
export function keptCount(shares: readonly number[], topP: number): number {
  let before = 0;
  let count = 0;
  while (count < shares.length && (count === 0 || before < topP)) before += shares[count++];
  return count;
}
