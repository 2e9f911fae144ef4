/** Where tensors lie in files of any format, and the reading of their bytes and values. */

import type { OpenFile } from "../files.ts";
import { show } from "../show.ts";
import { fileBlocks, type GgufDtype } from "./gguf/dtypes.ts";
import { bytesOfDtype, type SafetensorsDtype, toFloat32 } from "./safetensors.ts";

/** A type of values in a file. Types of the same name in both formats are the same. */
export type StoredDtype = SafetensorsDtype | GgufDtype;

/** The location of a tensor in its file. */
export interface StoredPlace {
  readonly name: string;
  /** The file's path. */
  readonly origin: string;
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file, and the byte after the last. */
  readonly begin: number;
  readonly end: number;
  /** The row of the file's tensor that is this tensor's row `row`; undefined if they have the same order. */
  readonly rowAt?: (row: number) => number;
}

/** Number of values. */
export function sizeOf({ shape }: { readonly shape: readonly number[] }): number {
  return shape.reduce((a, b) => a * b, 1);
}

const isFloat = (dtype: StoredDtype): dtype is SafetensorsDtype => !dtype.startsWith("Q");

/** Values and bytes of a block; one value of a type without blocks. */
export function blockOf(dtype: StoredDtype): { readonly values: number; readonly bytes: number } {
  return isFloat(dtype) ? { values: 1, bytes: bytesOfDtype(dtype) } : fileBlocks(dtype);
}

/** The values of whole blocks: a view of `data`, or written to `into`, which is as long. See `toFloat32`. */
export function valuesOf(
  { name, origin, dtype, shape }: StoredPlace,
  data: Uint8Array<ArrayBuffer>,
  into: Float32Array<ArrayBuffer>,
): Float32Array<ArrayBuffer> {
  return isFloat(dtype)
    ? toFloat32({ name, origin, dtype, shape, data }, into)
    : fileBlocks(dtype).decode(data, into);
}

/** A run of values that lie next to each other in the file. */
interface Run {
  /** Index of its first value in the file's tensor. */
  readonly from: number;
  readonly length: number;
}

function* runsOf({ shape: [, ...row], rowAt }: StoredPlace, first: number, count: number): Generator<Run> {
  if (!rowAt) return yield { from: first, length: count };
  const width = row.reduce((a, b) => a * b, 1);
  for (let at = first; at < first + count;) {
    const within = at % width;
    const length = Math.min(width - within, first + count - at);
    yield { from: rowAt(Math.floor(at / width)) * width + within, length };
    at += length;
  }
}

/**
 * Reads the blocks of `count` values from the `first` on into `room`, and returns them. Both are multiples of a block's
 * values. Throws an Error when the file has become shorter.
 */
export function readBlocks(
  file: OpenFile,
  place: StoredPlace,
  [first, count]: readonly [number, number],
  room: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const { values, bytes } = blockOf(place.dtype);
  let filled = 0;
  for (const { from, length } of runsOf(place, first, count)) {
    const end = filled + length / values * bytes;
    if (!file.readAt(room.subarray(filled, end), place.begin + from / values * bytes)) {
      throw new Error(
        `${place.origin}: ends inside tensor ${show(place.name)}: the file was changed while it was in use`,
      );
    }
    filled = end;
  }
  return room.subarray(0, filled);
}
