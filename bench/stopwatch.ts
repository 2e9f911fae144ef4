/** Measures how long the calls of a method take. */

/** Adds up the time spent in `object`'s method, until it is disposed of. */
export class Stopwatch<T extends object> implements Disposable {
  #milliseconds = 0;
  readonly #before: PropertyDescriptor | undefined;

  /** `object` may be a class's prototype; then the calls of all its instances are counted. */
  constructor(private readonly object: T, private readonly method: keyof T & string) {
    this.#before = Object.getOwnPropertyDescriptor(object, method);
    const original = object[method] as (...all: unknown[]) => unknown;
    const add = (milliseconds: number) => this.#milliseconds += milliseconds;
    const value = function (this: unknown, ...all: unknown[]) {
      const start = performance.now();
      const result = original.apply(this, all);
      add(performance.now() - start);
      return result;
    };
    Object.defineProperty(object, method, { value, configurable: true, writable: true });
  }

  /** Returns the milliseconds since the last call of `take`. */
  take(): number {
    const milliseconds = this.#milliseconds;
    this.#milliseconds = 0;
    return milliseconds;
  }

  /** Restores the method. */
  [Symbol.dispose](): void {
    if (this.#before) Object.defineProperty(this.object, this.method, this.#before);
    else Reflect.deleteProperty(this.object, this.method);
  }
}
