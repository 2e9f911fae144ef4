/**
 * `performance.now()` under a test's control, until disposed of: everything takes exactly as long as the test
 * says.
 */
export class FakeClock implements Disposable {
  #milliseconds = 0;

  constructor() {
    Object.defineProperty(performance, "now", { value: () => this.#milliseconds, configurable: true });
  }

  /** Lets time pass. */
  pass(milliseconds: number): void {
    this.#milliseconds += milliseconds;
  }

  [Symbol.dispose](): void {
    Reflect.deleteProperty(performance, "now");
  }
}
