/** The bytes of a GGUF file's metadata: what `metadata.ts` reads. */

import { type GgufItems, type GgufValue, typeNumber } from "./metadata.ts";

/** Arrays of the format's numbers, by the names of their types. */
const numberArrays = {
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  uint32: Uint32Array,
  int32: Int32Array,
  float32: Float32Array,
  uint64: BigUint64Array,
  int64: BigInt64Array,
  float64: Float64Array,
};

function isNumber(type: string): type is keyof typeof numberArrays {
  return Object.hasOwn(numberArrays, type);
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** A 32-bit number. */
export function uint32Bytes(value: number): Uint8Array<ArrayBuffer> {
  return bytesOf(Uint32Array.of(value));
}

/** A 64-bit number. */
export function uint64Bytes(value: number): Uint8Array<ArrayBuffer> {
  return bytesOf(BigUint64Array.of(BigInt(value)));
}

/** A text in UTF-8, after its length. Throws an Error for half a surrogate pair. */
export function textBytes(text: string): Uint8Array<ArrayBuffer>[] {
  if (!text.isWellFormed()) throw new Error(`${JSON.stringify(text)} holds half a surrogate pair: mend it`);
  const bytes = new TextEncoder().encode(text);
  return [uint64Bytes(bytes.length), bytes];
}

/** A key with its value. */
export function entryBytes(key: string, { type, value }: GgufValue): Uint8Array<ArrayBuffer>[] {
  const begin = [...textBytes(key), uint32Bytes(typeNumber(type))];
  if (type === "string") return [...begin, ...textBytes(value as string)];
  if (type === "bool") return [...begin, Uint8Array.of(Number(value))];
  if (type === "array") return [...begin, ...arrayBytes(value as GgufItems)];
  if (!isNumber(type)) throw new Error(`"${key}" is a ${type}, which GGUF does not have`);
  const one = new numberArrays[type](1);
  Reflect.set(one, 0, value);
  return [...begin, bytesOf(one)];
}

/** The type, number and bytes of an array's items. Of an empty one without a type the items are texts. */
function arrayBytes(items: GgufItems): Uint8Array<ArrayBuffer>[] {
  const begin = (type: string) => [uint32Bytes(typeNumber(type)), uint64Bytes(items.length)];
  if (ArrayBuffer.isView(items)) {
    const [type] = Object.entries(numberArrays).find(([, Numbers]) => items instanceof Numbers)!;
    return [...begin(type), bytesOf(items)];
  }
  if (items.length > 0 && items.every((item) => typeof item === "boolean")) {
    return [...begin("bool"), Uint8Array.from(items, Number)];
  }
  if (items.every((item) => typeof item === "string")) {
    return [...begin("string"), ...items.flatMap(textBytes)];
  }
  return [...begin("array"), ...(items as readonly GgufItems[]).flatMap(arrayBytes)];
}
