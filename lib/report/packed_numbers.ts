/** Lists of numbers in a record as short text: bytes or float32, deflated, in base64. */

import { Buffer } from "node:buffer";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import * as v from "npm:valibot@1.5.0";

const widths = { u8: 1, f32: 4 } as const;

/** Most numbers in a list, so that a damaged record cannot claim the memory. */
const most = 10_000_000;

/** A packed list of numbers. */
export const packedSchema = v.object({
  /** `u8`: whole numbers below 256; `f32`: little-endian float32. */
  dtype: v.picklist(["u8", "f32"]),
  count: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(most)),
  /** Raw deflate (RFC 1951) of the bytes, in base64. */
  deflated: v.pipe(v.string(), v.base64()),
});

/** A packed list of numbers. */
export type PackedNumbers = v.InferOutput<typeof packedSchema>;

/** Packs whole numbers below 256 exactly, any others as float32. */
export function packNumbers(values: readonly number[]): PackedNumbers {
  const whole = values.every((value) => Number.isInteger(value) && value >= 0 && value < 256);
  const bytes = whole ? Uint8Array.from(values) : littleEndian(values);
  return {
    dtype: whole ? "u8" : "f32",
    count: values.length,
    deflated: Buffer.from(deflateRawSync(bytes, { level: 9 })).toString("base64"),
  };
}

/** The list. Throws an Error when the text does not hold `count` numbers. */
export function unpackNumbers({ dtype, count, deflated }: PackedNumbers): number[] {
  const size = count * widths[dtype];
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(inflateRawSync(Buffer.from(deflated, "base64"), { maxOutputLength: size + 1 }));
  } catch (error) {
    throw new Error(`packed numbers are damaged (${(error as Error).message})`, { cause: error });
  }
  if (bytes.length !== size) throw new Error(`packed numbers hold ${bytes.length} bytes, not ${size}`);
  if (dtype === "u8") return [...bytes];
  const view = new DataView(bytes.buffer);
  return Array.from({ length: count }, (_, i) => view.getFloat32(4 * i, true));
}

function littleEndian(values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, i) => view.setFloat32(4 * i, value, true));
  return new Uint8Array(view.buffer);
}
