/** Splits and orders that depend on nothing but the examples' own names: the same on every machine, for ever. */

import { randomBits, streamOf } from "../graph/random.ts";
import type { Example, Split } from "./task.ts";

/** A well-mixed 32-bit number for a name. */
export function hashOf(name: string): number {
  return randomBits(0, 0, 0, streamOf(name));
}

/** An example with every key (lemma, text) that must not be in both train and dev. */
export interface Keyed {
  readonly example: Example;
  readonly keys: readonly string[];
}

/**
 * Splits so that no key is on both sides: each key goes to dev by its own hash with probability `devShare`, and an
 * example whose keys disagree is left out. Both sides come in hash order, so that a prefix of either is a random sample of it.
 */
export function splitByKeys(
  examples: readonly Keyed[],
  devShare: number,
  most: { train: number; dev: number },
): Split {
  const isDev = (key: string) => hashOf(`split ${key.toLowerCase()}`) < devShare * 2 ** 32;
  const ordered = examples.map((keyed) => ({ ...keyed, hash: hashOf(keyed.example.id) }))
    .sort((a, b) => a.hash - b.hash);
  const side = (dev: boolean) =>
    ordered.filter(({ keys }) => keys.every((key) => isDev(key) === dev)).map(({ example }) => example);
  return { train: side(false).slice(0, most.train), dev: side(true).slice(0, most.dev) };
}
