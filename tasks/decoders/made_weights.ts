/** Weights of a decoder's shape that are made from a seed when they are uploaded: nothing is read, and nothing kept. */

import { randomBits, streamOf } from "../../lib/graph/random.ts";
import { packedStorage } from "../../lib/graph/storages/registry.ts";
import type { StoredValues } from "../../lib/graph/storages/storage.ts";
import type { DecoderConfig } from "../../lib/models/decoder_config.ts";
import { PackedInPieces } from "../../lib/models/packed_in_pieces.ts";
import { storedLengths } from "../../lib/models/packing.ts";
import type { MadeWeights } from "../../lib/models/unloaded_decoder.ts";

/** The packings that are made. */
export type MadePacking = "int4" | "int8";

/** Words that are made at a time. */
const pieceWords = 2 ** 18;

/** Standard deviation of the values: transformers' `initializer_range`. */
const deviation = 0.02;

/**
 * A packed matrix of odd integers, each equally likely, so that their mean is 0: −7 … 7 in int4, −127 … 127 in int8. All groups
 * have the same scale.
 */
class MadePacked extends PackedInPieces {
  readonly origin = undefined;

  constructor(
    private readonly name: string,
    readonly shape: readonly number[],
    readonly packing: MadePacking,
    private readonly seed: number,
  ) {
    super();
  }

  *pieces(): Generator<StoredValues> {
    const stream = streamOf(this.name);
    const { words: count, scales } = storedLengths(this);
    const { bits } = packedStorage(this.packing);
    // Of odd integers up to 2^(bits − 1) the mean square is (4^(bits − 1) − 1) / 3.
    const scale = deviation / Math.sqrt((4 ** (bits - 1) - 1) / 3);
    const lowBits = bits === 4 ? 0x11111111 : 0x01010101;
    for (let at = 0; at < count; at += pieceWords) {
      const words = new Uint32Array(Math.min(pieceWords, count - at));
      for (let i = 0; i < words.length; i++) words[i] = randomBits(this.seed, 0, stream, at + i) | lowBits;
      yield { words, scales: new Float32Array(words.length * scales / count).fill(scale) };
    }
  }
}

/** Matrices from `seed`; norms that change nothing, and biases of 0. */
export function madeWeights({ normOffset }: DecoderConfig, seed: number): MadeWeights {
  return {
    dense(name, shape) {
      const size = shape.reduce((product, extent) => product * extent, 1);
      const value = name.endsWith("norm.weight") ? 1 - normOffset : 0;
      return { shape, data: new Float32Array(size).fill(value) };
    },
    packed(name, shape, packing) {
      if (packing !== "int4" && packing !== "int8") throw new Error(`${packing} is made of nothing here`);
      return new MadePacked(name, shape, packing, seed);
    },
  };
}
