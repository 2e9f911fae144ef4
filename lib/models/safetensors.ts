/**
 * The safetensors format, read strictly and written as by its reference implementation
 * (github.com/huggingface/safetensors 0.8: README, "Format", and safetensors/src/tensor.rs):
 *
 *     u64 N, little-endian | N bytes: a JSON object in UTF-8, padded with spaces | data
 *
 * The object maps names to { dtype, shape, data_offsets: [begin, end] }, with offsets into the data. It may
 * map `__metadata__` to an object of strings, or to null, which counts as absent. Tensors are row-major and
 * little-endian, and cover the data without overlaps or gaps. WebGPU's hosts are little-endian, so typed
 * arrays have the same bytes as the file.
 */

import { descriptionBounds, type OpenFile, openFile, readBytes, writeWhole } from "../files.ts";
import { bf16, toBf16 } from "../graph/storages/bf16.ts";
import { f16 } from "../graph/storages/f16.ts";
import { show } from "../show.ts";
import type { Weight } from "./model.ts";

/** The format's dtypes, with the number of bits per element. */
// deno-fmt-ignore: one row per size
const bitsOf = {
  F4: 4,
  F6_E2M3: 6, F6_E3M2: 6,
  BOOL: 8, U8: 8, I8: 8, F8_E5M2: 8, F8_E4M3: 8, F8_E8M0: 8, F8_E4M3FNUZ: 8, F8_E5M2FNUZ: 8,
  I16: 16, U16: 16, F16: 16, BF16: 16,
  I32: 32, U32: 32, F32: 32,
  C64: 64, F64: 64, I64: 64, U64: 64,
} as const;

/** A dtype, by its name in the format. */
export type SafetensorsDtype = keyof typeof bitsOf;

/** One tensor of a file. */
export interface NamedTensor {
  readonly name: string;
  /** The file it came from, for error messages. */
  readonly origin: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** Row-major and little-endian. This is a view of the file's bytes and keeps them in memory. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/** The location of a tensor in its file. */
export interface TensorPlace extends Omit<NamedTensor, "data"> {
  /** First byte, counted from the start of the file, and the byte after the last. */
  readonly begin: number;
  readonly end: number;
}

/** The content of a file's header: tensors by name, in the order of their data. */
export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>;
  readonly places: ReadonlyMap<string, TensorPlace>;
}

/** The content of a file: tensors by name, in the order of their data. */
export interface SafetensorsFile {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, NamedTensor>;
}

/**
 * The reference implementation's limits: size of the header in bytes, and nesting depth of its JSON
 * (serde_json's).
 */
const { bytes: maxHeader, levels: maxDepth } = descriptionBounds;

const again = "download or write the file again";

/**
 * Reads the file at `path`. The header is checked against the file's size before the data are read. Throws as
 * readSafetensorsHeader does.
 */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  readSafetensorsHeader(path);
  return parseSafetensors(await readBytes(path), path);
}

/**
 * Parses the bytes of a whole file. Throws an Error that begins with `origin`, names the tensor and says what
 * is wrong when the file violates the format; only the notation of numbers is not checked (2.0, 2e0 and -0
 * are accepted).
 */
export function parseSafetensors(bytes: Uint8Array<ArrayBuffer>, origin: string): SafetensorsFile {
  const dataAt = 8 + headerLength(bytes, bytes.length, origin);
  const { metadata, places } = readPlaces(bytes.subarray(8, dataAt), bytes.length, origin);
  const tensors = [...places].map(([name, { begin, end, ...place }]): [string, NamedTensor] => [
    name,
    { ...place, data: bytes.subarray(begin, end) },
  ]);
  return { metadata, tensors: new Map(tensors) };
}

/**
 * Reads only the header of the file at `path`: which tensors there are, and where. Throws what opening the
 * file throws, and for a malformed file what parseSafetensors throws.
 */
export function readSafetensorsHeader(path: string): SafetensorsHeader {
  using file = openFile(path);
  const { size } = file;
  const length = headerLength(bytesOf(file, path, 0, Math.min(8, size)), size, path);
  return readPlaces(bytesOf(file, path, 8, length), size, path);
}

/** So many bytes of an open file, from `at` on. Throws an Error where it ends before, which it did not when it was opened. */
function bytesOf(file: OpenFile, path: string, at: number, count: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(count);
  if (file.readAt(bytes, at)) return bytes;
  throw new Error(`${path}: was cut short while it was read: ${again}`);
}

/**
 * The header length N, from a file's first bytes. Throws an Error unless a file of `size` bytes can contain
 * it.
 */
function headerLength(bytes: Uint8Array<ArrayBuffer>, size: number, origin: string): number {
  if (bytes.length < 8) throw new Error(`${origin}: ${bytes.length} bytes are no safetensors file: ${again}`);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (length > maxHeader) {
    const what = `a header of ${length} bytes, and ${maxHeader} is the limit: this is no safetensors file`;
    throw new Error(`${origin}: announces ${what}; look for a Git LFS pointer or a web page in it`);
  }
  if (length > size - 8) {
    const what = `its header has ${length} bytes, and ${size - 8} follow`;
    throw new Error(`${origin}: ${what}: the file is truncated; ${again}`);
  }
  return Number(length);
}

/** The content of a file of `size` bytes with this header. */
function readPlaces(header: Uint8Array, size: number, origin: string): SafetensorsHeader {
  const { __metadata__, ...entries } = parseHeader(header, origin);
  const metadata = __metadata__ ?? {};
  if (!isStrings(metadata)) {
    throw new Error(`${origin}: __metadata__ is ${show(metadata)}: write an object whose values are strings`);
  }
  const dataAt = 8 + header.length;
  const places = Object.entries(entries)
    .map(([name, entry]) => readPlace(name, entry, dataAt, size - dataAt, origin))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  let covered = 0;
  for (const place of places) {
    const begin = place.begin - dataAt;
    if (begin !== covered) {
      const what = begin < covered ? "overlaps the one before, which ends" : "leaves a hole that begins";
      const where = `tensor ${show(place.name)} begins at byte ${begin} of the data`;
      throw new Error(`${origin}: ${where} and ${what} at byte ${covered}: ${again}`);
    }
    covered = place.end - dataAt;
  }
  if (covered !== size - dataAt) {
    throw new Error(
      `${origin}: its tensors end at byte ${covered} of ${size - dataAt} of the data: ${again}`,
    );
  }
  return { metadata, places: new Map(places.map((place) => [place.name, place])) };
}

function parseHeader(bytes: Uint8Array, origin: string): Record<string, unknown> {
  try {
    const json = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    if (!json.startsWith("{")) throw new Error(`it begins with ${show(json.slice(0, 1))}, not with {`);
    checkJson(json);
    return JSON.parse(json);
  } catch (error) {
    const what = `its header is not a JSON object in UTF-8: ${(error as Error).message}`;
    throw new Error(`${origin}: ${what}: ${again}`, { cause: error });
  }
}

/**
 * Throws an Error for what JSON.parse accepts but the format does not: deep nesting, lone surrogates and
 * duplicate keys.
 */
function checkJson(json: string): void {
  const open: Set<string>[] = [];
  let text = "";
  for (let at = 0; at < json.length; at++) {
    const char = json[at];
    if (char === '"') {
      const begin = at;
      while (++at < json.length && json[at] !== '"') if (json[at] === "\\") at++;
      text = JSON.parse(json.slice(begin, at + 1));
      if (!text.isWellFormed()) throw new Error(`it has half a surrogate pair in ${show(text)}`);
    } else if (char === "{" || char === "[") {
      if (open.push(new Set()) > maxDepth) throw new Error(`it nests deeper than ${maxDepth} levels`);
    } else if (char === "}" || char === "]") {
      open.pop();
    } else if (char === ":") {
      if (open.at(-1)?.has(text)) throw new Error(`it has the key ${show(text)} twice`);
      open.at(-1)?.add(text);
    }
  }
}

/**
 * The tensor that an entry of the header describes. The file's data are `dataSize` bytes, starting at
 * `dataAt`.
 */
function readPlace(
  name: string,
  entry: unknown,
  dataAt: number,
  dataSize: number,
  origin: string,
): TensorPlace {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  const where = `${origin}: tensor ${show(name)}`;
  if (!isDtype(dtype)) {
    throw new Error(`${where} has dtype ${show(dtype)}: expected one of ${Object.keys(bitsOf).join(", ")}`);
  }
  if (!isCounts(shape)) {
    throw new Error(`${where} has shape ${show(shape)}: expected an array of whole numbers below 2^53`);
  }
  if (!isCounts(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw new Error(
      `${where} has data_offsets ${show(offsets)}: expected whole numbers [begin, end] in order`,
    );
  }
  const [begin, end] = offsets;
  if (end > dataSize) {
    const what = `claims bytes ${begin}–${end} of a ${dataSize}-byte buffer`;
    throw new Error(`${where} ${what}: the file is truncated; ${again}`);
  }
  const size = elementsOf(shape) * bitsOf[dtype] / 8;
  if (size !== end - begin) {
    const takes = Number.isNaN(size) ? "more than 2^53" : size;
    const what = `is ${dtype} ${show(shape)} and takes ${takes} bytes, but claims ${end - begin}`;
    throw new Error(`${where} ${what} (${begin}–${end}): ${again}`);
  }
  return { name, origin, dtype, shape, begin: dataAt + begin, end: dataAt + end };
}

function isDtype(value: unknown): value is SafetensorsDtype {
  return typeof value === "string" && Object.hasOwn(bitsOf, value);
}

function isStrings(value: unknown): value is Record<string, string> {
  return value instanceof Object && !Array.isArray(value) &&
    Object.values(value).every((text) => typeof text === "string");
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((count) => Number.isSafeInteger(count) && count >= 0);
}

/** The product of a shape's dimensions; NaN when a partial product exceeds 2^53 and would lose precision. */
function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => Number.isSafeInteger(product * n) ? product * n : NaN, 1);
}

/** Bytes per element. */
export function bytesOfDtype(dtype: SafetensorsDtype): number {
  return bitsOf[dtype] / 8;
}

/**
 * Converts a merged tensor's float32 values to the bytes of `dtype`, rounding to nearest, ties to even.
 * @throws Error for a dtype other than F32, F16, BF16 and F64, and for a value that is not finite in it.
 */
export function fromFloat32(
  name: string,
  dtype: SafetensorsDtype,
  values: Float32Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = roundedTo(name, dtype, values);
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  if (
    toFloat32({ name, origin: "merged", dtype, shape: [values.length], data: bytes }).every(Number.isFinite)
  ) {
    return bytes;
  }
  const what = `tensor ${show(name)} holds values that are not finite`;
  throw new Error(
    values.every(Number.isFinite)
      ? `${what} as ${dtype}: take the base in F32, such as by .float() and save_pretrained in PyTorch`
      : `${what}: the adapter's are too large, or its training diverged: train it with a lower learning rate`,
  );
}

function roundedTo(name: string, dtype: SafetensorsDtype, values: Float32Array<ArrayBuffer>) {
  switch (dtype) {
    case "F32":
      return values;
    case "F16":
      return Float16Array.from(values);
    case "F64":
      return Float64Array.from(values);
    case "BF16":
      return toBf16(values);
    default:
      throw new Error(`tensor ${show(name)} cannot be written as ${dtype}: it holds floats`);
  }
}

/**
 * Converts an F32, F16, BF16 or F64 tensor to float32: F16 and BF16 exactly, F64 rounded to nearest. For F32
 * the result is a view of the file's bytes if they are aligned. Other dtypes are written to `into`, if given,
 * which must be as long as the tensor. Throws an Error for any other dtype.
 */
export function toFloat32(
  { name, origin, dtype, data }: NamedTensor,
  into?: Float32Array<ArrayBuffer>,
): Float32Array<ArrayBuffer> {
  const size = bytesOfDtype(dtype);
  const { buffer, byteOffset, length } = data.byteOffset % size === 0 ? data : data.slice();
  const count = length / size;
  const floats = () => into ?? new Float32Array(count);
  switch (dtype) {
    case "F32":
      return new Float32Array(buffer, byteOffset, count);
    case "F64": {
      const values = floats();
      values.set(new Float64Array(buffer, byteOffset, count));
      return values;
    }
    case "F16":
      return f16.inFile.decode(data, floats());
    case "BF16":
      return bf16.inFile.decode(data, floats());
    default: {
      const what = `tensor ${show(name)} is ${dtype}; only F32, F16, BF16 and F64 can be read as float32`;
      throw new Error(`${origin}: ${what}: save it as one of these, such as by .float() in PyTorch`);
    }
  }
}

/**
 * The bytes of a safetensors file with these tensors as F32, sorted by name. Its `__metadata__` is `metadata`
 * and `format: "pt"`, which transformers requires. Throws an Error that names the tensor when its shape and
 * data disagree or its name is not allowed, and one for metadata that UTF-8 cannot represent.
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, Weight>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  for (const text of Object.entries(metadata).flat()) {
    if (!text.isWellFormed()) throw new Error(`metadata ${show(text)} holds half a surrogate pair: mend it`);
  }
  const sorted = [...tensors].sort(([a], [b]) => a < b ? -1 : 1);
  // Built by hand: an object would move integer-like names to the front, regardless of the order of the data.
  const entries = [`"__metadata__":${JSON.stringify({ format: "pt", ...metadata })}`];
  let size = 0;
  for (const [name, { shape, data }] of sorted) {
    checkWritable(name, shape, data.length);
    const entry = { dtype: "F32", shape, data_offsets: [size, size + data.byteLength] };
    entries.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    size += data.byteLength;
  }
  const header = new TextEncoder().encode(`{${entries.join(",")}}`);
  let at = 8 + Math.ceil(header.length / 8) * 8;
  const bytes = new Uint8Array(at + size).fill(" ".charCodeAt(0), 8, at);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(at - 8), true);
  bytes.set(header, 8);
  for (const [, { data }] of sorted) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}

function checkWritable(name: string, shape: readonly number[], values: number): void {
  if (name === "__metadata__" || !name.isWellFormed()) {
    throw new Error(`a safetensors file cannot hold a tensor named ${show(name)}: rename it`);
  }
  if (!isCounts(shape) || elementsOf(shape) !== values) {
    const what = `tensor ${show(name)} has shape ${show(shape)} and ${values} values`;
    throw new Error(`${what}: give a shape whose extents multiply to the number of values`);
  }
}

/** Writes the result of encodeSafetensors to `path`, completely or not at all (see writeWhole). */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Weight>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  await writeWhole(path, encodeSafetensors(tensors, metadata));
}
