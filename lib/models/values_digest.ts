/** Digests of weight values, which identify a model regardless of its files. */

import { sha256 } from "npm:@noble/hashes@2.4.0/sha2.js";
import { bytesToHex } from "npm:@noble/hashes@2.4.0/utils.js";

/** A digest of what comes piece by piece. */
interface Hash {
  update(bytes: Uint8Array<ArrayBuffer>): unknown;
  digest(): Uint8Array;
}

/** An incremental SHA-256: the runtime's own where there is one, which is much faster; in a browser, which has none, in JavaScript. */
function newHash(): Hash {
  const crypto = globalThis.process?.getBuiltinModule?.("node:crypto");
  return crypto ? crypto.createHash("sha256") : sha256.create();
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** SHA-256 of values as little-endian float32, in hexadecimal digits. */
export function digestOfValues(values: Float32Array<ArrayBuffer>): string {
  const hash = newHash();
  hash.update(bytesOf(values));
  return bytesToHex(hash.digest());
}

/** SHA-256 of lines, whatever order they are given in. */
export function digestOfTexts(lines: readonly string[]): string {
  const hash = newHash();
  hash.update(new TextEncoder().encode(lines.toSorted().join("\n")));
  return bytesToHex(hash.digest());
}

/**
 * The digest of a tensor's values, computed incrementally while a tensor's values are read, in order, for another purpose.
 */
export class PassingDigest {
  #hash: Hash | undefined = newHash();
  #taken = 0;
  #digest = "";

  /** For a tensor of `size` values. */
  constructor(private readonly size: number) {}

  /** Number of values taken so far, which is the index of the next one. */
  get taken(): number {
    return this.#taken;
  }

  /** Takes the values that start at index `at`; ignores them unless they are the next ones. */
  take(at: number, values: Float32Array<ArrayBuffer>): void {
    if (at !== this.#taken || !this.#hash) return;
    this.#hash.update(bytesOf(values));
    this.#taken += values.length;
    if (this.#taken < this.size) return;
    this.#digest = bytesToHex(this.#hash.digest());
    this.#hash = undefined;
  }

  /** The digest. Throws an Error if not all values have been taken. */
  get value(): string {
    if (this.#hash) throw new Error(`${this.#taken} of ${this.size} values have passed`);
    return this.#digest;
  }
}
