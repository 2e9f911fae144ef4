/** Weights that are packed on their way to the GPU. */

import type { WritablePacking } from "../graph/storages/registry.ts";
import type { StoredValues } from "../graph/storages/storage.ts";
import { fingerprintOf, type WeightFingerprint } from "./fingerprint.ts";
import { PackedInPieces } from "./packed_in_pieces.ts";
import { checkPackable, packValues, storedLengths } from "./packing.ts";
import { PieceRoom, type WeightInPieces } from "./stored_weight.ts";

/** A dense weight in pieces, packed piece by piece whenever it is asked for. */
export class PackedOnTheWay extends PackedInPieces {
  /** Throws an Error with the packing's wishes when it does not take the weight's shape. */
  constructor(
    private readonly name: string,
    private readonly weight: WeightInPieces,
    readonly packing: WritablePacking,
  ) {
    super();
    checkPackable(name, weight.shape, packing);
  }

  get shape(): readonly number[] {
    return this.weight.shape;
  }

  /** Fingerprint of the dense values; see `fingerprintOf`. */
  get origin(): WeightFingerprint {
    return fingerprintOf(this.weight);
  }

  /** Throws as the weight's `pieces` do, and an Error with the weight's name when a value is beyond the packing's range. */
  *pieces(room: PieceRoom = new PieceRoom()): Generator<StoredValues> {
    // Pieces begin at multiples of every packing's groups and blocks.
    for (const piece of this.weight.pieces(room)) {
      const packed = room.packed(storedLengths({ shape: [piece.length], packing: this.packing }));
      packValues(this.name, piece, this.packing, packed);
      yield packed;
    }
  }
}
