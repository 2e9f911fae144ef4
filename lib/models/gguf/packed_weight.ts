/** Packed weights that stay in their GGUF file until they are needed. */

import { openFile } from "../../files.ts";
import { packedStorage } from "../../graph/storages/registry.ts";
import { fingerprintOf, type WeightFingerprint } from "../fingerprint.ts";
import type { StoredValues } from "../../graph/storages/storage.ts";
import { PackedInPieces } from "../packed_in_pieces.ts";
import { storedLengths } from "../packing.ts";
import { readBlocks, sizeOf } from "../stored_place.ts";
import { notFinite, pieceLength, PieceRoom, StoredWeight } from "../stored_weight.ts";
import type { PassingDigest } from "../values_digest.ts";
import { fileBlocks, type FilePacking, type GgufDtype, packingOf } from "./dtypes.ts";
import type { GgufPlace } from "./header.ts";

/** A place of blocks that a packing has. */
export type PackedPlace = GgufPlace & { readonly dtype: Exclude<GgufDtype, "F32"> };

/** True for a tensor that `StoredPackedWeight` takes: of a type other than F32, and in a shape that its packing has. */
export function isPackable(place: GgufPlace): place is PackedPlace {
  return place.dtype !== "F32" && packedStorage(packingOf(place.dtype)).refusal(place.shape) === undefined;
}

/**
 * A matrix of a GGUF file, or a range of its rows, in the packing that it has there. Nothing of it is kept. For its values as
 * float32 make a `StoredWeight` of the same place.
 */
export class StoredPackedWeight extends PackedInPieces {
  readonly packing: FilePacking;
  readonly #values: StoredWeight;
  /** Index in the tensor of the first value. */
  readonly #first: number;

  /** Rows `from` to `to` (exclusive), by default all. Parts of one tensor share its `digest`. */
  constructor(
    private readonly place: PackedPlace,
    [from, to]: readonly [number, number] = [0, place.shape[0]],
    digest?: PassingDigest,
  ) {
    super();
    this.packing = packingOf(place.dtype);
    this.#values = new StoredWeight(place, [from, to], digest);
    this.#first = from * place.shape[1];
  }

  get shape(): readonly number[] {
    return this.#values.shape;
  }

  /** Fingerprint of the whole tensor's values, as they were first read for it. */
  get origin(): WeightFingerprint {
    return fingerprintOf(this.#values);
  }

  /**
   * The words that the kernels read.
   * @throws what opening the file throws, and Error when the file has become shorter, or a value is not finite.
   */
  *pieces(room: PieceRoom = new PieceRoom()): Generator<StoredValues> {
    const { aligned, isFinite } = fileBlocks(this.place.dtype);
    const { packing } = this;
    const size = sizeOf(this);
    using file = openFile(this.place.origin);
    for (let at = 0; at < size; at += pieceLength) {
      const range = [this.#first + at, Math.min(pieceLength, size - at)] as const;
      const blocks = readBlocks(file, this.place, range, room.bytes);
      if (!isFinite(blocks)) throw notFinite(this.place);
      const packed = room.packed(storedLengths({ shape: [range[1]], packing }));
      aligned(blocks, packed.words);
      yield packed;
    }
  }
}
