/** Values on the GPU that are made when they are asked for, and kept for the next time. */

import { Shared } from "./shared.ts";

/** What a value is kept by. Two keys are the same if each part is identical. */
export type Key = readonly unknown[];

interface Entry<V extends Disposable> {
  readonly key: Key;
  readonly value: Shared<V>;
}

/** Keeps the values that were used last, by key. What it drops, it disposes of: at once, or when its last use ends. */
export class Kept<V extends Disposable> implements Disposable {
  /** In the order of use. */
  #entries: Entry<V>[] = [];
  #isDisposed = false;

  /** Keeps at most `most` values. */
  constructor(private readonly most: number) {}

  /**
   * What `body` returns for the value of `key`, which `make` makes, at once, unless it is kept or being made.
   * @throws what `make` throws, at every call until it succeeds; Error after disposal.
   */
  async use<T>(key: Key, make: () => V | Promise<V>, body: (value: V) => T | Promise<T>): Promise<T> {
    if (this.#isDisposed) {
      throw new Error("the programs of this have been disposed of: use it within its scope");
    }
    const entry = this.#entries.find((other) => isSame(other.key, key)) ?? this.#made(key, make);
    this.#entries = [...this.#entries.filter((other) => other !== entry), entry];
    const result = entry.value.use(body);
    if (this.#entries.length > this.most) this.#entries.shift()!.value[Symbol.dispose]();
    return await result;
  }

  /** Drops the values whose keys are chosen. */
  drop(isChosen: (key: Key) => boolean): void {
    const dropped = this.#entries.filter(({ key }) => isChosen(key));
    this.#entries = this.#entries.filter((entry) => !dropped.includes(entry));
    for (const { value } of dropped) value[Symbol.dispose]();
  }

  #made(key: Key, make: () => V | Promise<V>): Entry<V> {
    const made = Promise.resolve(make());
    const entry = { key, value: new Shared(made) };
    made.catch(() => this.#entries = this.#entries.filter((other) => other !== entry));
    return entry;
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.drop(() => true);
  }
}

function isSame(key: Key, other: Key): boolean {
  return key.length === other.length && key.every((part, i) => part === other[i]);
}
