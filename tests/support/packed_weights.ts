/** Packed weights of every storage, and blocks of GGUF as its Python package reads and makes them. */

import { randomBits } from "../../lib/graph/random.ts";
import {
  packedStorage,
  type Packing,
  packings,
  type WritablePacking,
} from "../../lib/graph/storages/registry.ts";
import type { Weight } from "../../lib/models/model.ts";
import { pack, type PackedWeight } from "../../lib/models/packing.ts";
import { randomValues } from "../../tasks/conformance/op_errors.ts";

/** A matrix of random values. */
export function randomWeight(shape: readonly number[]): Weight {
  const size = shape.reduce((product, extent) => product * extent, 1);
  return { shape, data: Float32Array.from(randomValues("W", size)) };
}

/** Whether a model can be packed so. */
export function isWritable(packing: Packing): packing is WritablePacking {
  return packings.some((name) => name === packing);
}

/** Words of a block, and its scales as indices of its halves, where values cannot be packed. */
const blocks: Partial<Record<Packing, readonly [words: number, scales: readonly number[]]>> = {
  q4_k: [36, [0, 1]],
  q5_k: [44, [0, 1]],
  q6_k: [53, [104]],
};

/** A random packed weight: random values, or random words with small scales where values cannot be packed. */
export function randomPacked(shape: readonly number[], packing: Packing): PackedWeight {
  if (isWritable(packing)) return pack("W", randomWeight(shape), packing);
  const [rows, columns] = shape;
  const length = rows * columns * packedStorage(packing).bits / 32;
  const words = Uint32Array.from({ length }, (_, i) => randomBits(3, 0, 0, i));
  const halves = new Float16Array(words.buffer);
  const [size, scales] = blocks[packing]!;
  for (let at = 0; at < halves.length; at += 2 * size) {
    for (const scale of scales) halves[at + scale] = randomBits(3, 1, scale, at) / 2 ** 36 - 0.03;
  }
  return { shape, packing, words, origin: undefined };
}

/** Blocks of one type. */
export interface BlocksReference {
  /** The bytes in a file. */
  readonly blocks: Uint8Array<ArrayBuffer>;
  readonly values: Float32Array<ArrayBuffer>;
  /** Values, and the blocks that they are packed into, if they can be. */
  readonly packed?: { readonly values: Float32Array<ArrayBuffer>; readonly blocks: Uint8Array<ArrayBuffer> };
}

/** The file's text of one type. */
interface Written {
  readonly blocks: string;
  readonly values: string;
}

const floats = (base64: string) => new Float32Array(Uint8Array.fromBase64(base64).buffer);

const read = ({ blocks, values }: Written) => ({
  blocks: Uint8Array.fromBase64(blocks),
  values: floats(values),
});

/** The blocks of `fixtures/gguf_blocks.json`, by their type's name in GGUF. */
export function readBlocksReference(): Map<string, BlocksReference> {
  const text = Deno.readTextFileSync(new URL("../fixtures/gguf_blocks.json", import.meta.url));
  const file: Readonly<Record<string, Written & { readonly packed?: Written }>> = JSON.parse(text);
  return new Map(
    Object.entries(file).map(([name, { packed, ...own }]) => [
      name,
      { ...read(own), packed: packed && read(packed) },
    ]),
  );
}
