/** The registry of storages. */

import { bf16 } from "./bf16.ts";
import { f16 } from "./f16.ts";
import { f32Panels } from "./f32_panels.ts";
import { f32Rows } from "./f32_rows.ts";
import { int4, int8 } from "./integers.ts";
import { q4_k, q5_k } from "./k_blocks.ts";
import { q4_0, q4_1, q5_0, q5_1 } from "./nibble_blocks.ts";
import { q6_k } from "./q6_k.ts";
import { q8_0 } from "./q8_0.ts";
import type { PackedStorage, Storage, WritableStorage } from "./storage.ts";

/**
 * Storage format of packed weights: `f16` and `bf16`; `int8` and `int4` with one float32 scale for each 64 values; and
 * GGUF's, by their names there. Those that end in `_k` come from GGUF files only.
 */
export type Packing =
  | "f16"
  | "bf16"
  | "int8"
  | "int4"
  | "q4_0"
  | "q4_1"
  | "q5_0"
  | "q5_1"
  | "q8_0"
  | "q4_k"
  | "q5_k"
  | "q6_k";

/** The formats that a model can be packed into. */
export type WritablePacking = Exclude<Packing, `${string}_k`>;

const writable: Readonly<Record<WritablePacking, WritableStorage>> = {
  f16,
  bf16,
  int8,
  int4,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
};

const packed: Readonly<Record<Packing, PackedStorage>> = { ...writable, q4_k, q5_k, q6_k };

const storages: Readonly<Record<string, Storage>> = {
  f32: f32Rows,
  "f32 in panels": f32Panels,
  ...packed,
};

/** The storages that `packModel` takes. */
export const packings = Object.keys(writable) as readonly WritablePacking[];

/** All storages that packed weights can have. */
export const storedPackings = Object.keys(packed) as readonly Packing[];

/** The storage of tensors of `dtype`. Throws an Error for a dtype without one (u32). */
export function storageNamed(dtype: string): Storage {
  if (Object.hasOwn(storages, dtype)) return storages[dtype];
  throw new Error(`${dtype} is no storage of matrices; have ${Object.keys(storages).join(", ")}`);
}

/** The storage that weights are packed as. */
export function packedStorage(packing: Packing): PackedStorage {
  return packed[packing];
}

/** The storage that weights are packed into as `packing`. Throws an Error for one that weights cannot be packed into. */
export function writableStorage(packing: WritablePacking): WritableStorage {
  if (!Object.hasOwn(writable, packing)) {
    throw new Error(`weights cannot be packed into ${packing}; use one of ${packings.join(", ")}`);
  }
  return writable[packing];
}
