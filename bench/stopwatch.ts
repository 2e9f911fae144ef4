/** How long a queue's calls take. */

/** Adds up the time spent in `queue`'s method, until it is disposed of. */
export class Stopwatch implements Disposable {
  #milliseconds = 0;

  constructor(
    private readonly queue: Pick<GPUQueue, "submit" | "writeBuffer">,
    private readonly method: "submit" | "writeBuffer",
  ) {
    const original = queue[method].bind(queue) as (...all: unknown[]) => void;
    const value = (...all: unknown[]) => {
      const start = performance.now();
      original(...all);
      this.#milliseconds += performance.now() - start;
    };
    Object.defineProperty(queue, method, { value, configurable: true });
  }

  /** The milliseconds since the last call. */
  take(): number {
    const milliseconds = this.#milliseconds;
    this.#milliseconds = 0;
    return milliseconds;
  }

  /** Takes the method off the object, and so gives back its class's. */
  [Symbol.dispose](): void {
    Reflect.deleteProperty(this.queue, this.method);
  }
}
