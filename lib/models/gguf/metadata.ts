/** The metadata of a GGUF file: typed values by key (ggml-org/ggml: docs/gguf.md). */

import { descriptionBounds } from "../../files.ts";
import { show } from "../../show.ts";
import type { ByteCursor } from "./byte_cursor.ts";

/** The items of an array. */
export type GgufItems = NumberItems | readonly boolean[] | readonly string[] | readonly GgufItems[];

type NumberItems =
  | Uint8Array<ArrayBuffer>
  | Int8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Float32Array<ArrayBuffer>
  | BigUint64Array<ArrayBuffer>
  | BigInt64Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>;

/** A value, with the name of its type: such as `uint32`, or `array`. */
export interface GgufValue {
  readonly type: string;
  readonly value: number | bigint | boolean | string | GgufItems;
}

/** What a type of the format is called, and how values of it are read, one or `count` of them. */
interface ValueType {
  readonly name: string;
  /** The fewest bytes of a value. */
  readonly least: number;
  items(cursor: ByteCursor, count: number, what: string, depth: number): GgufItems;
}

function numbers(
  name: string,
  size: number,
  view: (buffer: ArrayBuffer) => NumberItems,
): ValueType {
  return { name, least: size, items: (cursor, count, what) => view(cursor.bytes(count * size, what).buffer) };
}

function repeated<T>(count: number, item: () => T): T[] {
  const items: T[] = [];
  while (items.length < count) items.push(item());
  return items;
}

function booleans(cursor: ByteCursor, count: number, what: string): boolean[] {
  return Array.from(cursor.bytes(count, what), (byte) => {
    if (byte < 2) return byte === 1;
    throw new Error(`${cursor.origin}: ${what} is ${byte}, and a bool is 0 or 1: write the file again`);
  });
}

/** The format's types, by their numbers. */
const types: readonly ValueType[] = [
  numbers("uint8", 1, (buffer) => new Uint8Array(buffer)),
  numbers("int8", 1, (buffer) => new Int8Array(buffer)),
  numbers("uint16", 2, (buffer) => new Uint16Array(buffer)),
  numbers("int16", 2, (buffer) => new Int16Array(buffer)),
  numbers("uint32", 4, (buffer) => new Uint32Array(buffer)),
  numbers("int32", 4, (buffer) => new Int32Array(buffer)),
  numbers("float32", 4, (buffer) => new Float32Array(buffer)),
  { name: "bool", least: 1, items: booleans },
  {
    name: "string",
    least: 8,
    items: (cursor, count, what) => repeated(count, () => cursor.text(what)),
  },
  {
    name: "array",
    least: 12,
    items: (cursor, count, what, depth) => repeated(count, () => readItems(cursor, what, depth + 1)),
  },
  numbers("uint64", 8, (buffer) => new BigUint64Array(buffer)),
  numbers("int64", 8, (buffer) => new BigInt64Array(buffer)),
  numbers("float64", 8, (buffer) => new Float64Array(buffer)),
];

/** The number of the type with this name. */
export function typeNumber(name: string): number {
  return types.findIndex((type) => type.name === name);
}

function readType(cursor: ByteCursor, what: string): ValueType {
  const number = cursor.uint32(`the type of ${what}`);
  if (number < types.length) return types[number];
  throw new Error(
    `${cursor.origin}: ${what} has values of type ${number}, which GGUF does not have: write the file again`,
  );
}

function readItems(cursor: ByteCursor, what: string, depth: number): GgufItems {
  if (depth > descriptionBounds.levels) {
    throw new Error(
      `${cursor.origin}: ${what} nests deeper than ${descriptionBounds.levels} levels: look what it holds`,
    );
  }
  const type = readType(cursor, what);
  return type.items(cursor, cursor.count(type.least, `items of ${what}`), what, depth);
}

function readValue(cursor: ByteCursor, what: string): GgufValue {
  const type = readType(cursor, what);
  const value = type.name === "array" ? readItems(cursor, what, 1) : type.items(cursor, 1, what, 0)[0];
  return { type: type.name, value };
}

/** Reads `count` keys with their values. Throws an Error that names file and key for what the format does not have. */
export function readMetadata(cursor: ByteCursor, count: number): GgufMetadata {
  const values = new Map<string, GgufValue>();
  for (let i = 0; i < count; i++) {
    const key = cursor.text(`key ${i} of the metadata`);
    const what = show(key);
    if (values.has(key)) throw new Error(`${cursor.origin}: has ${what} twice: write the file again`);
    values.set(key, readValue(cursor, what));
  }
  return new GgufMetadata(cursor.origin, values);
}

/** The fewest bytes of a key with its value. */
export const leastEntry = 13;

/**
 * Metadata by key. The methods throw an Error that names file and key for a value of another type, and for a key that is
 * absent where `otherwise` is not given.
 */
export class GgufMetadata {
  constructor(readonly origin: string, readonly values: ReadonlyMap<string, GgufValue>) {}

  has(key: string): boolean {
    return this.values.has(key);
  }

  /** A number of any type. Throws an Error for one beyond 2^53 as well. */
  number(key: string, otherwise?: number): number {
    return this.#get(key, "a number", otherwise, (value) => {
      if (typeof value === "number") return value;
      return typeof value === "bigint" && Number.isSafeInteger(Number(value)) ? Number(value) : undefined;
    });
  }

  text(key: string, otherwise?: string): string {
    return this.#get(key, "a text", otherwise, (value) => typeof value === "string" ? value : undefined);
  }

  flag(key: string, otherwise?: boolean): boolean {
    return this.#get(key, "a bool", otherwise, (value) => typeof value === "boolean" ? value : undefined);
  }

  /** Numbers of up to 32 bits, or of float64. */
  numbers(key: string, otherwise?: readonly number[]): readonly number[] {
    return this.#get(key, "an array of numbers", otherwise, (value) => {
      if (!ArrayBuffer.isView(value)) return undefined;
      return value instanceof BigUint64Array || value instanceof BigInt64Array
        ? undefined
        : Array.from(value);
    });
  }

  texts(key: string, otherwise?: readonly string[]): readonly string[] {
    return this.#get(
      key,
      "an array of texts",
      otherwise,
      (value) => Array.isArray(value) && value.every((item) => typeof item === "string") ? value : undefined,
    );
  }

  #get<T>(
    key: string,
    wanted: string,
    otherwise: T | undefined,
    as: (value: GgufValue["value"]) => T | undefined,
  ): T {
    const found = this.values.get(key);
    const value = found ? as(found.value) : otherwise;
    if (value !== undefined) return value;
    const what = found
      ? `is ${found.type}${typeof found.value === "object" ? "" : ` ${show(found.value)}`}`
      : "is missing";
    throw new Error(`${this.origin}: "${key}" ${what}, and ${wanted} is wanted: convert the model again`);
  }
}
