/** Splits and orders that depend on nothing but the examples' own names: the same on every machine, for ever. */

import { randomBits, streamOf } from "../graph/random.ts";
import type { Example, Split } from "./task.ts";

/** A well-mixed 32-bit number for a name. */
export function hashOf(name: string): number {
  return randomBits(0, 0, 0, streamOf(name));
}

/** Whether a key (lemma, text; case aside) belongs to dev, decided by its own hash. */
export function isDevKey(key: string, devShare: number): boolean {
  return hashOf(`split ${key.toLowerCase()}`) < devShare * 2 ** 32;
}

/** `items` in the order of a hash of their names and `salt`: a stable shuffle. */
export function inHashOrder<T>(items: readonly T[], name: (item: T) => string, salt = ""): T[] {
  return items.map((item) => ({ item, hash: hashOf(name(item) + salt) })).sort((a, b) => a.hash - b.hash).map(
    ({ item }) => item,
  );
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
  const ordered = inHashOrder(examples, ({ example }) => example.id);
  const side = (dev: boolean) =>
    ordered.filter(({ keys }) => keys.every((key) => isDevKey(key, devShare) === dev)).map(({ example }) =>
      example
    );
  return { train: side(false).slice(0, most.train), dev: side(true).slice(0, most.dev) };
}
