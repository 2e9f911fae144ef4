/** The registry of storages. */

import { f16 } from "./f16.ts";
import { f32Panels } from "./f32_panels.ts";
import { f32Rows } from "./f32_rows.ts";
import { int4, int8 } from "./integers.ts";
import { q8_0 } from "./q8_0.ts";
import type { PackedStorage, Storage } from "./storage.ts";

/**
 * Storage format of packed weights: `f16`; `int8` and `int4` with one float32 scale for each 64 values; `q8_0`, GGUF's.
 */
export type Packing = "f16" | "int8" | "int4" | "q8_0";

const packed: Readonly<Record<Packing, PackedStorage>> = { f16, int8, int4, q8_0 };

const storages: Readonly<Record<string, Storage>> = {
  f32: f32Rows,
  "f32 in panels": f32Panels,
  ...packed,
};

/** The storages that `packModel` takes. */
export const packings = Object.keys(packed) as readonly Packing[];

/** The storage of tensors of `dtype`. Throws an Error for a dtype without one (u32). */
export function storageNamed(dtype: string): Storage {
  if (Object.hasOwn(storages, dtype)) return storages[dtype];
  throw new Error(`${dtype} is no storage of matrices; have ${Object.keys(storages).join(", ")}`);
}

/** The storage that weights are packed into as `packing`. */
export function packedStorage(packing: Packing): PackedStorage {
  return packed[packing];
}
