/** Storages of 16 bits a value, two values a word, the first in the low half. GGUF files have the same bytes. */

import { type FileStorage, type Reading, refusesUnless, type WritableStorage } from "./storage.ts";

/** A kind of 16 bits. */
interface TwoBytes {
  readonly name: string;
  /** The largest value, for messages. */
  readonly largest: string;
  /** The bits that are all 1 in infinities and NaNs, and in nothing else. */
  readonly exponent: number;
  load(name: string): string;
  readonly alternative?: Reading;
  /** Rounds to nearest, ties to even. */
  encode(values: Float32Array<ArrayBuffer>): Uint16Array<ArrayBuffer>;
  /** Writes the values to `out`, which is as long, and returns it. */
  decode(halves: Uint16Array<ArrayBuffer>, out: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer>;
}

/** The storage of a kind of 16 bits. */
export function twoBytes(kind: TwoBytes): WritableStorage & FileStorage {
  const { name, largest, exponent, load, alternative, encode, decode } = kind;
  const areFinite = (halves: Uint16Array) => halves.every((half) => (half & exponent) !== exponent);
  const finite = (values: Float32Array): Uint16Array<ArrayBuffer> => {
    const halves = encode(Float32Array.from(values));
    if (areFinite(halves)) return halves;
    throw new Error(`holds values beyond ${name}'s ${largest}`);
  };
  const halvesOf = (file: Uint8Array<ArrayBuffer>) => {
    const { buffer, byteOffset, byteLength } = file.byteOffset % 2 === 0 ? file : file.slice();
    return new Uint16Array(buffer, byteOffset, byteLength / 2);
  };
  return {
    name,
    bits: 16,
    refusal: refusesUnless(4),
    reading: {
      bindings: ({ name, binding }) =>
        `@group(0) @binding(${binding}) var<storage, read> ${name}: array<vec2u>;`,
      load,
    },
    alternative,
    pack: (values) => ({ words: new Uint32Array(finite(values).buffer) }),
    unpack: ({ words: { buffer, byteOffset, length } }) =>
      decode(new Uint16Array(buffer, byteOffset, 2 * length), new Float32Array(2 * length)),
    inFile: {
      values: 1,
      bytes: 2,
      aligned: (file) => new Uint32Array(file.slice().buffer),
      decode: (file, out) => decode(halvesOf(file), out),
      encode: (values) => new Uint8Array(finite(values).buffer),
      isFinite: (file) => areFinite(halvesOf(file)),
    },
  };
}
