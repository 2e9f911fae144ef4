/** Packed weights that stay in their GGUF file until they are needed. */

import { packedStorage } from "../../graph/storages/registry.ts";
import { fingerprintOf, type WeightFingerprint } from "../fingerprint.ts";
import type { PackedWeight } from "../packing.ts";
import { readBlocks, sizeOf } from "../stored_place.ts";
import { notFinite, pieceLength, StoredWeight } from "../stored_weight.ts";
import { fileBlocks, type FilePacking, type GgufDtype, packingOf } from "./dtypes.ts";
import type { GgufPlace } from "./header.ts";

/** A place of blocks that a packing has. */
export type PackedPlace = GgufPlace & { readonly dtype: Exclude<GgufDtype, "F32"> };

/** True for a tensor that `StoredPackedWeight` takes: of a type other than F32, and in a shape that its packing has. */
export function isPackable(place: GgufPlace): place is PackedPlace {
  return place.dtype !== "F32" && packedStorage(packingOf(place.dtype)).refusal(place.shape) === undefined;
}

/**
 * A matrix of a GGUF file in the packing that it has there. Each access to `words` reads the file and keeps nothing, as
 * does the first access to `origin`. For its values as float32 make a `StoredWeight` of the same place.
 */
export class StoredPackedWeight implements PackedWeight {
  readonly packing: FilePacking;
  readonly #values: StoredWeight;

  constructor(private readonly place: PackedPlace) {
    this.packing = packingOf(place.dtype);
    this.#values = new StoredWeight(place);
  }

  get shape(): readonly number[] {
    return this.place.shape;
  }

  /** Fingerprint of the values, as they were first read for it; undefined in a browser. */
  get origin(): WeightFingerprint | undefined {
    return fingerprintOf(this.#values);
  }

  /**
   * The words that the kernels read.
   * @throws what opening the file throws, and Error when the file has become shorter, or a value is not finite.
   */
  get words(): Uint32Array<ArrayBuffer> {
    const { values, bytes, aligned, isFinite } = fileBlocks(this.place.dtype);
    const size = sizeOf(this.place);
    const words = new Uint32Array(size * packedStorage(this.packing).bits / 32);
    const room = new Uint8Array(Math.min(pieceLength, size) / values * bytes);
    using file = Deno.openSync(this.place.origin);
    let filled = 0;
    for (let at = 0; at < size; at += pieceLength) {
      const blocks = readBlocks(file, this.place, [at, Math.min(pieceLength, size - at)], room);
      if (!isFinite(blocks)) throw notFinite(this.place);
      const piece = aligned(blocks);
      words.set(piece, filled);
      filled += piece.length;
    }
    return words;
  }
}
