/**
 * The header of a GGUF file, read strictly (ggml-org/ggml: docs/gguf.md), without the tensors' data:
 *
 *     "GGUF" | u32 version | u64 tensors | u64 entries of metadata | metadata | tensor infos | padding | data
 *
 * A tensor's info is its name, its extents with the contiguous one first, its type, and where it begins in the data. The
 * data and each tensor begin at multiples of `general.alignment`, which is 32 if absent.
 */

import { openFile } from "../../files.ts";
import { show } from "../../show.ts";
import { blockOf, type StoredPlace } from "../stored_place.ts";
import { ByteCursor } from "./byte_cursor.ts";
import { dtypeName, type GgufDtype, ggufDtypes, isGgufDtype } from "./dtypes.ts";
import { type GgufMetadata, leastEntry, readMetadata } from "./metadata.ts";

/** The location of a tensor; its shape is as in PyTorch, with the contiguous extent last. */
export interface GgufPlace extends StoredPlace {
  readonly dtype: GgufDtype;
}

/** The content of a file's header: tensors by name, in the order of their data. */
export interface GgufHeader {
  readonly metadata: GgufMetadata;
  readonly alignment: number;
  readonly places: ReadonlyMap<string, GgufPlace>;
}

/** The fewest bytes of a tensor's info, without extents. */
const leastInfo = 24;

/** ggml's limit of a tensor's extents. */
const maxExtents = 4;

const again = "download or write the file again";

/**
 * Reads the header of the file at `path`. Throws what opening the file throws, and for a malformed file an Error that
 * begins with its path and names the key or tensor.
 */
export function readGgufHeader(path: string): GgufHeader {
  using file = openFile(path);
  return readHeader(
    new ByteCursor(path, file.size, (into, at) => {
      if (!file.readAt(into, at)) throw new Error(`${path}: was cut short while it was read: ${again}`);
    }),
  );
}

/** The header of a file with these bytes. Throws as `readGgufHeader` does, with `origin` as the path. */
export function parseGgufHeader(bytes: Uint8Array<ArrayBuffer>, origin: string): GgufHeader {
  const readAt = (into: Uint8Array, at: number) => into.set(bytes.subarray(at, at + into.length));
  return readHeader(new ByteCursor(origin, bytes.length, readAt));
}

function readHeader(cursor: ByteCursor): GgufHeader {
  checkVersion(cursor);
  const tensors = cursor.count(leastInfo, "tensors");
  const entries = cursor.count(leastEntry, "entries of the metadata");
  const metadata = readMetadata(cursor, entries);
  const alignment = alignmentOf(cursor.origin, metadata);
  const infos: TensorInfo[] = [];
  while (infos.length < tensors) infos.push(readInfo(cursor, infos.length, alignment));
  const dataAt = BigInt(Math.ceil(cursor.at / alignment) * alignment);
  const places = infos.map((info) => placeOf(info, dataAt, cursor));
  return { metadata, alignment, places: inOrder(places) };
}

function checkVersion(cursor: ByteCursor): void {
  const { origin, size } = cursor;
  if (size < leastInfo) throw new Error(`${origin}: ${size} bytes are no GGUF file: ${again}`);
  // "GGUF", little-endian.
  if (cursor.uint32("the first bytes") !== 0x46554747) {
    throw new Error(
      `${origin}: does not begin with GGUF: look for a Git LFS pointer, a web page or another format in it`,
    );
  }
  const version = cursor.uint32("the version");
  if (version === 2 || version === 3) return;
  if (version > 0 && version % 0x10000 === 0) {
    throw new Error(`${origin}: is big-endian: convert it with llama.cpp's gguf_convert_endian.py`);
  }
  throw new Error(
    `${origin}: is GGUF version ${version}, and 2 and 3 are read: convert the model again with llama.cpp`,
  );
}

function alignmentOf(origin: string, metadata: GgufMetadata): number {
  const alignment = metadata.number("general.alignment", 32);
  if (Number.isInteger(Math.log2(alignment)) && alignment >= 1 && alignment < 2 ** 32) return alignment;
  throw new Error(`${origin}: general.alignment is ${alignment}, and must be a power of 2: ${again}`);
}

interface TensorInfo {
  readonly name: string;
  readonly dtype: GgufDtype;
  readonly shape: readonly bigint[];
  /** First byte, counted from the start of the data. */
  readonly offset: bigint;
}

function readInfo(cursor: ByteCursor, index: number, alignment: number): TensorInfo {
  const name = cursor.text(`the name of tensor ${index}`);
  const what = `tensor ${show(name)}`;
  const where = `${cursor.origin}: ${what}`;
  const extents = cursor.uint32(`the extents of ${what}`);
  if (extents > maxExtents) {
    throw new Error(`${where} has ${extents} extents, and ${maxExtents} are the limit: ${again}`);
  }
  const shape = Array.from({ length: extents }, () => cursor.uint64(`the extents of ${what}`)).reverse();
  const dtype = dtypeName(cursor.uint32(`the type of ${what}`));
  if (!isGgufDtype(dtype)) {
    throw new Error(
      `${where} is ${dtype}, and ${ggufDtypes.join(", ")} are read: quantise the model to one of these`,
    );
  }
  const offset = cursor.uint64(`the offset of ${what}`);
  if (offset % BigInt(alignment) !== 0n) {
    throw new Error(`${where} begins at byte ${offset} of the data, no multiple of ${alignment}: ${again}`);
  }
  return { name, dtype, shape, offset };
}

function placeOf(
  { name, dtype, shape, offset }: TensorInfo,
  dataAt: bigint,
  { origin, size }: ByteCursor,
): GgufPlace {
  const where = `${origin}: tensor ${show(name)}`;
  const { values, bytes } = blockOf(dtype);
  if (shape.some((extent) => extent > Number.MAX_SAFE_INTEGER)) {
    throw new Error(`${where} is [${shape}], beyond 2^53: ${again}`);
  }
  if ((shape.at(-1) ?? 1n) % BigInt(values) !== 0n) {
    throw new Error(
      `${where} is [${shape}], and ${dtype} wants rows of ${values} values at a time: ${again}`,
    );
  }
  const begin = dataAt + offset;
  const end = begin +
    shape.reduce((product, extent) => product * extent, 1n) / BigInt(values) * BigInt(bytes);
  if (end > size) {
    throw new Error(`${where} claims bytes ${begin}–${end} of ${size}: the file is truncated; ${again}`);
  }
  return { name, origin, dtype, shape: shape.map(Number), begin: Number(begin), end: Number(end) };
}

/** The places by name, in the order of the data. Throws an Error for names and bytes that two tensors claim. */
function inOrder(places: readonly GgufPlace[]): Map<string, GgufPlace> {
  const ordered = places.toSorted((a, b) => a.begin - b.begin || a.end - b.end);
  const found = new Map<string, GgufPlace>();
  for (const [i, place] of ordered.entries()) {
    const where = `${place.origin}: tensor ${show(place.name)}`;
    if (found.has(place.name)) throw new Error(`${where} is there twice: ${again}`);
    const before = ordered[i - 1];
    if (before && before.end > place.begin) {
      throw new Error(
        `${where} begins at byte ${place.begin}, and ${show(before.name)} ends at ${before.end}: ${again}`,
      );
    }
    found.set(place.name, place);
  }
  return found;
}
