/** Requests take turns: the GPU works on one at a time, and only so many may wait. */

import { ApiError } from "./api_error.ts";

/** Somebody who waits for a turn or has it. */
interface Place {
  readonly called: PromiseWithResolvers<void>;
  readonly left: PromiseWithResolvers<void>;
}

/** Turns in the order in which they are asked for. */
export class Turns {
  /** The first one has its turn. */
  readonly #line: Place[] = [];

  /** `most`: how many may wait or have their turn. */
  constructor(private readonly most: number) {}

  /**
   * Waits for a turn, which lasts until it is disposed of.
   * @throws ApiError with status 429 when too many wait; the signal's reason when it is aborted meanwhile.
   */
  async take(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#line.length === this.most) {
      throw new ApiError(
        429,
        `${this.most} requests wait or are being answered, which is this server's limit: try again later`,
        "rate_limit_exceeded",
      );
    }
    const own: Place = { called: Promise.withResolvers(), left: Promise.withResolvers() };
    using leaving = new DisposableStack();
    leaving.defer(() => this.#leave(own));
    this.#line.push(own);
    const giveUp = () => own.called.reject(signal.reason);
    signal.addEventListener("abort", giveUp);
    this.#callFirst();
    await own.called.promise;
    signal.removeEventListener("abort", giveUp);
    return leaving.move();
  }

  /** Resolves when all have left who are in the line now. */
  async emptied(): Promise<void> {
    await Promise.all(this.#line.map(({ left }) => left.promise));
  }

  #leave(own: Place): void {
    this.#line.splice(this.#line.indexOf(own), 1);
    own.left.resolve();
    this.#callFirst();
  }

  #callFirst(): void {
    this.#line.at(0)?.called.resolve();
  }
}
