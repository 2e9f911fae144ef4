/** Reads the beginning of a file in order, a window at a time, and nothing beyond its end. */

import { descriptionBounds } from "../../files.ts";

const again = "the file is truncated or damaged; download or write it again";

/** Bytes of a window, unless one item is larger. */
const windowSize = 2 ** 20;

/** Fills `into` with the file's bytes from `at` on. */
export type ReadAt = (into: Uint8Array<ArrayBuffer>, at: number) => void;

/** The place in a file of `size` bytes up to which it has been read. Numbers are little-endian. */
export class ByteCursor {
  #at = 0;
  #windowAt = 0;
  #window = new DataView(new ArrayBuffer(0));

  constructor(readonly origin: string, readonly size: number, private readonly readAt: ReadAt) {}

  /** The next byte's place. */
  get at(): number {
    return this.#at;
  }

  /** A 32-bit number. `what` names it in the error that the methods throw where the file ends before it. */
  uint32(what: string): number {
    const at = this.#advance(4, what);
    return this.#window.getUint32(at, true);
  }

  /** A 64-bit number. */
  uint64(what: string): bigint {
    const at = this.#advance(8, what);
    return this.#window.getBigUint64(at, true);
  }

  /**
   * A 64-bit count of things that have at least `unit` bytes each. Throws an Error unless so many can follow.
   */
  count(unit: number, what: string): number {
    const count = this.uint64(what);
    const left = this.size - this.#at;
    if (count <= BigInt(Math.floor(left / unit))) return Number(count);
    throw new Error(
      `${this.origin}: the number of ${what} is ${count}, of at least ${unit} bytes each, and ${left} bytes follow: ${again}`,
    );
  }

  /** A copy of the next `size` bytes. */
  bytes(size: number, what: string): Uint8Array<ArrayBuffer> {
    const at = this.#advance(size, what);
    return new Uint8Array(this.#window.buffer, at, size).slice();
  }

  /** A text in UTF-8, after its length. */
  text(what: string): string {
    const length = this.count(1, `bytes of ${what}`);
    const bytes = this.bytes(length, what);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (error) {
      throw new Error(`${this.origin}: ${what} is not text in UTF-8: write the file again`, { cause: error });
    }
  }

  /** Moves on by `size` bytes and returns their place in the window, which holds all of them. */
  #advance(size: number, what: string): number {
    const end = this.#at + size;
    if (end > this.size) throw new Error(`${this.origin}: ends inside ${what}: ${again}`);
    if (end > descriptionBounds.bytes) {
      throw new Error(
        `${this.origin}: its header has more than ${descriptionBounds.bytes} bytes: look what it holds`,
      );
    }
    if (end > this.#windowAt + this.#window.byteLength) {
      const bytes = new Uint8Array(Math.min(Math.max(size, windowSize), this.size - this.#at));
      this.readAt(bytes, this.#at);
      this.#window = new DataView(bytes.buffer);
      this.#windowAt = this.#at;
    }
    const at = this.#at - this.#windowAt;
    this.#at = end;
    return at;
  }
}
