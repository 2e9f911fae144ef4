/** Storages of 16 bits a value, two values a word, the first in the low half. GGUF files have the same bytes. */

import {
  bytesIn,
  type FileStorage,
  halvesIn,
  type Reading,
  refusesUnless,
  type WritableStorage,
} from "./storage.ts";

/** A kind of 16 bits. */
interface TwoBytes {
  readonly name: string;
  /** The largest value, for messages. */
  readonly largest: string;
  /** The bits that are all 1 in infinities and NaNs, and in nothing else. */
  readonly exponent: number;
  load(name: string): string;
  readonly alternative?: Reading;
  /** Writes the values, rounded to nearest, ties to even, to `out`, which is as long. */
  encode(values: Float32Array<ArrayBuffer>, out: Uint16Array<ArrayBuffer>): void;
  /** Writes the values to `out`, which is as long, and returns it. */
  decode(halves: Uint16Array<ArrayBuffer>, out: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer>;
}

/** The storage of a kind of 16 bits. */
export function twoBytes(kind: TwoBytes): WritableStorage & FileStorage {
  const { name, largest, exponent, load, alternative, encode, decode } = kind;
  const areFinite = (halves: Uint16Array) => halves.every((half) => (half & exponent) !== exponent);
  const encodeFinite = (values: Float32Array<ArrayBuffer>, halves: Uint16Array<ArrayBuffer>) => {
    encode(values, halves);
    if (!areFinite(halves)) throw new Error(`holds values beyond ${name}'s ${largest}`);
  };
  const halvesOf = (file: Uint8Array<ArrayBuffer>) =>
    halvesIn(file.byteOffset % 2 === 0 ? file : file.slice());
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
    pack: (values, { words }) => encodeFinite(values, halvesIn(words)),
    unpack: ({ words }) => decode(halvesIn(words), new Float32Array(2 * words.length)),
    inFile: {
      values: 1,
      bytes: 2,
      aligned: (file, out) => bytesIn(out).set(file),
      decode: (file, out) => decode(halvesOf(file), out),
      encode(values) {
        const halves = new Uint16Array(values.length);
        encodeFinite(values, halves);
        return bytesIn(halves);
      },
      isFinite: (file) => areFinite(halvesOf(file)),
    },
  };
}
