/** Packed weights that are made piece by piece when they are needed, so that a model need not fit into the host's memory. */

import type { Packing } from "../graph/storages/registry.ts";
import type { StoredValues } from "../graph/storages/storage.ts";
import type { WeightFingerprint } from "./fingerprint.ts";
import { type PackedWeight, storedLengths } from "./packing.ts";
import type { PieceRoom } from "./stored_weight.ts";

/** A packed weight that keeps nothing: each access to `words`, `scales` or `pieces` makes it anew. */
export abstract class PackedInPieces implements PackedWeight {
  abstract readonly shape: readonly number[];
  abstract readonly packing: Packing;
  abstract readonly origin: WeightFingerprint | undefined;

  /** Words and scales in order, piece by piece. Each piece is valid only until the next one is requested or `room` is reused. */
  abstract pieces(room?: PieceRoom): Iterable<StoredValues>;

  /** All words. Throws as `pieces` does. */
  get words(): Uint32Array<ArrayBuffer> {
    const all = new Uint32Array(storedLengths(this).words);
    let at = 0;
    for (const { words } of this.pieces()) {
      all.set(words, at);
      at += words.length;
    }
    return all;
  }

  /** All scales, of packings that have a buffer of them. Throws as `pieces` does. */
  get scales(): Float32Array<ArrayBuffer> | undefined {
    const { scales: length } = storedLengths(this);
    if (length === 0) return undefined;
    const all = new Float32Array(length);
    let at = 0;
    for (const { scales } of this.pieces()) {
      all.set(scales!, at);
      at += scales!.length;
    }
    return all;
  }
}
