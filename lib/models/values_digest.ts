/** Digests of weights' values, which tell one model from another whatever files the values lie in. */

import type { Hash } from "node:crypto";

/** Whether there are digests: not in a browser, where no folders of models and adapters are read or written. */
export function hasDigests(): boolean {
  return globalThis.process?.getBuiltinModule?.("node:crypto") !== undefined;
}

/** A SHA-256 that takes its bytes in parts. Not an import: a browser must be able to load what loads this. */
function newHash(): Hash {
  return globalThis.process.getBuiltinModule("node:crypto").createHash("sha256");
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** SHA-256 of values as little-endian float32, in hexadecimal digits. */
export function digestOfValues(values: Float32Array<ArrayBuffer>): string {
  return newHash().update(bytesOf(values)).digest("hex");
}

/** The same of a tensor whose values pass by in order, piece by piece, as they are read for some other use. */
export class PassingDigest {
  #hash: Hash | undefined = newHash();
  #taken = 0;
  #digest = "";

  /** Of so many values. */
  constructor(private readonly size: number) {}

  /** Values that have been taken: the place of the next one. */
  get taken(): number {
    return this.#taken;
  }

  /** Takes the values that begin at place `at`, if they are the next ones. */
  take(at: number, values: Float32Array<ArrayBuffer>): void {
    if (at !== this.#taken || !this.#hash) return;
    this.#hash.update(bytesOf(values));
    this.#taken += values.length;
    if (this.#taken < this.size) return;
    this.#digest = this.#hash.digest("hex");
    this.#hash = undefined;
  }

  /** The digest. Throws an Error before all values have been taken. */
  get value(): string {
    if (this.#hash) throw new Error(`${this.#taken} of ${this.size} values have passed`);
    return this.#digest;
  }
}
