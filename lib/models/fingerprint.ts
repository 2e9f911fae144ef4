/** Fingerprints that identify a model's weights by their values, regardless of files and folders. */

import type { Packing } from "../graph/storages/registry.ts";
import type { Model, Weight } from "./model.ts";
import { isNorm } from "./llama.ts";
import { PieceRoom, StoredWeight, tableOf } from "./stored_weight.ts";
import { digestOfValues } from "./values_digest.ts";

/** Identifies the values of a weight and the format that they are stored in. */
export interface WeightFingerprint {
  /** SHA-256, in hexadecimal digits, of the values as little-endian float32, before packing. */
  readonly sha256: string;
  /** Dtype in the file, such as BF16; F32 for a model made in memory. F32_1 where it holds 1 more than transformers' files. */
  readonly dtype: string;
  /** The packing, if the weight is packed. */
  readonly packing?: Packing;
}

/**
 * The fingerprint of a weight. For one in a file it covers the values as they were first read; values that
 * have not been read yet are read now.
 */
export function fingerprintOf(weight: Weight, room?: PieceRoom): WeightFingerprint {
  return weight instanceof StoredWeight
    ? { sha256: weight.digest(room ?? new PieceRoom()), dtype: weight.dtype }
    : { sha256: digestOfValues(weight.data), dtype: "F32" };
}

/**
 * Fingerprints of a model's weights, by name. A table stored in parts has one fingerprint, under the table's
 * name.
 */
export function fingerprintsOf(
  { weights, packed = new Map(), normShift = 0 }: Model,
): Map<string, WeightFingerprint> {
  const found = new Map<string, WeightFingerprint>();
  const room = new PieceRoom();
  for (const [name, weight] of weights) {
    const own = weight instanceof StoredWeight ? tableOf(name) : name;
    if (found.has(own)) continue;
    const { sha256, dtype } = fingerprintOf(weight, room);
    found.set(own, { sha256, dtype: normShift !== 0 && isNorm(name) ? `${dtype}_${normShift}` : dtype });
  }
  for (const [name, { packing, origin }] of packed) {
    if (!found.has(tableOf(name))) found.set(tableOf(name), { ...origin!, packing });
  }
  return found;
}
