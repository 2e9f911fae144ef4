/** GGUF files made by hand, to break them. */

import { joined } from "./mutants.ts";

/** Bytes that are joined: numbers are written as u32, bigints as u64, texts with their length. */
export type Part = number | bigint | string | Uint8Array;

export function bytesOf(...parts: readonly Part[]): Uint8Array<ArrayBuffer> {
  return joined(...parts.map(encoded));
}

function encoded(part: Part): Uint8Array {
  if (typeof part === "number") return new Uint8Array(Uint32Array.of(part).buffer);
  if (typeof part === "bigint") return new Uint8Array(BigUint64Array.of(BigInt.asUintN(64, part)).buffer);
  if (typeof part === "string") {
    const text = new TextEncoder().encode(part);
    return bytesOf(BigInt(text.length), text);
  }
  return part;
}

/** A file's parts: entries are key, type and value; each tensor is name, number of extents, extents, type and offset. */
export interface GgufParts {
  readonly version?: number;
  readonly entries?: readonly (readonly Part[])[];
  readonly tensors?: readonly (readonly Part[])[];
  /** Bytes of data after the padding to 32. */
  readonly data?: number;
}

/** The file of these parts. */
export function ggufOf(
  { version = 3, entries = [], tensors = [], data = 0 }: GgufParts,
): Uint8Array<ArrayBuffer> {
  const header = bytesOf(
    ...[new TextEncoder().encode("GGUF"), version, BigInt(tensors.length), BigInt(entries.length)],
    ...[...entries, ...tensors].flat(),
  );
  return bytesOf(header, new Uint8Array((32 - header.length % 32) % 32 + data));
}
