/** What tells one model's weights from another's, whatever files and folders they lie in. */

import type { Encoder, Weight } from "./model.ts";
import type { Packing } from "./packing.ts";
import { PieceRoom, StoredWeight, tableOf } from "./stored_weight.ts";
import { digestOfValues, hasDigests } from "./values_digest.ts";

/** A weight's values, and the form that the model has them in. */
export interface WeightFingerprint {
  /** SHA-256, in hexadecimal digits, of the values as little-endian float32, before they were packed. */
  readonly sha256: string;
  /** What they are stored as in their file, such as BF16; F32 where a model was made in memory. */
  readonly dtype: string;
  /** How they were packed after that, if they were. */
  readonly packing?: Packing;
}

/**
 * A weight's fingerprint; none in a browser, which reads and writes no adapters. Of a weight that is read from a file it is that of
 * the values that were read first; those that have not been read yet are read now.
 */
export function fingerprintOf(weight: Weight, room?: PieceRoom): WeightFingerprint | undefined {
  if (!hasDigests()) return undefined;
  return weight instanceof StoredWeight
    ? { sha256: weight.digest(room ?? new PieceRoom()), dtype: weight.dtype }
    : { sha256: digestOfValues(weight.data), dtype: "F32" };
}

/** Fingerprints of a model's weights, by name; of a table that lies in parts, as a whole under its own name. */
export function fingerprintsOf({ weights, packed = new Map() }: Encoder): Map<string, WeightFingerprint> {
  const found = new Map<string, WeightFingerprint>();
  const room = new PieceRoom();
  for (const [name, weight] of weights) {
    const own = weight instanceof StoredWeight ? tableOf(name) : name;
    if (!found.has(own)) found.set(own, fingerprintOf(weight, room)!);
  }
  for (const [name, { packing, origin }] of packed) found.set(name, { ...origin!, packing });
  return found;
}
