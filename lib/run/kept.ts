/** Values on the GPU that are made when they are asked for, and kept for the next time. */

/** Keeps the values that were used last, by key. What it drops, it disposes of. */
export class Kept<V extends Disposable> implements Disposable {
  /** In the order of use. */
  readonly #values = new Map<string, V>();

  /** Keeps at most `most` values. */
  constructor(private readonly most: number) {}

  /** The value of `key`, which `make` makes unless it is kept. */
  async get(key: string, make: () => Promise<V>): Promise<V> {
    const value = this.#values.get(key) ?? await make();
    this.#values.delete(key);
    this.#values.set(key, value);
    if (this.#values.size > this.most) {
      const [oldest] = this.#values.keys();
      this.drop((other) => other === oldest);
    }
    return value;
  }

  /** Drops the values whose keys are chosen. */
  drop(isChosen: (key: string) => boolean): void {
    for (const [key, value] of [...this.#values]) {
      if (!isChosen(key)) continue;
      this.#values.delete(key);
      value[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    this.drop(() => true);
  }
}
