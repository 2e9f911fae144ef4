/** Splits and orders that depend only on the examples' names, so that they are the same on every machine. */

import { randomBits, streamOf } from "../graph/random.ts";
import type { Example, Split } from "./task.ts";

/** A 32-bit hash of a name. */
export function hashOf(name: string): number {
  return randomBits(0, 0, 0, streamOf(name));
}

/** True when a key (a lemma or text, ignoring case) belongs to dev, according to its hash. */
export function isDevKey(key: string, devShare: number): boolean {
  return hashOf(`split ${key.toLowerCase()}`) < devShare * 2 ** 32;
}

/** Sorts `items` by a hash of their names and `salt`: a stable shuffle. */
export function inHashOrder<T>(items: readonly T[], name: (item: T) => string, salt = ""): T[] {
  return items.map((item) => ({ item, hash: hashOf(name(item) + salt) })).sort((a, b) => a.hash - b.hash).map(
    ({ item }) => item,
  );
}

/** An example with all keys (lemmas or texts) that must not be in both train and dev. */
export interface Keyed {
  /** The example. */
  readonly example: Example;
  /** What it is made of, such as lemmas, at least one: none of them is on the other side of the split. */
  readonly keys: readonly string[];
}

/**
 * Splits examples so that no key is in both train and dev. Each key goes to dev with probability `devShare`,
 * according to its hash; an example whose keys disagree is dropped. Both sides are in hash order, so a prefix
 * of either is a random sample.
 * @throws Error that names an example without keys.
 */
export function splitByKeys(
  examples: readonly Keyed[],
  devShare: number,
  most: { train: number; dev: number },
): Split {
  const free = examples.find(({ keys }) => keys.length === 0);
  if (free) throw new Error(`the example "${free.example.id}" has no keys: give it one, such as its text`);
  const ordered = inHashOrder(examples, ({ example }) => example.id);
  const side = (dev: boolean) =>
    ordered.filter(({ keys }) => keys.every((key) => isDevKey(key, devShare) === dev)).map(({ example }) =>
      example
    );
  return { train: side(false).slice(0, most.train), dev: side(true).slice(0, most.dev) };
}
