/** Values on the GPU that several calls use at once. */

/** A value that is disposed of at once or, while calls use it, when the last of them ends. */
export class Shared<V extends Disposable> implements Disposable {
  #value: V | undefined;
  #uses = 0;
  #isDisposed = false;

  /** Shares a value, or one that is being made. */
  constructor(private readonly made: V | Promise<V>) {
    if (!(made instanceof Promise)) this.#value = made;
  }

  /** Whether it has been disposed of; calls that began before may still use it. */
  get disposed(): boolean {
    return this.#isDisposed;
  }

  /** What `body` returns for the value. A value that is made already is used at once. */
  async use<T>(body: (value: V) => T | Promise<T>): Promise<T> {
    this.#uses++;
    try {
      this.#value ??= await this.made;
      return await body(this.#value);
    } finally {
      this.#uses--;
      this.#disposeIfUnused();
    }
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#disposeIfUnused();
  }

  #disposeIfUnused(): void {
    if (!this.#isDisposed || this.#uses > 0) return;
    this.#value?.[Symbol.dispose]();
    this.#value = undefined;
  }
}
