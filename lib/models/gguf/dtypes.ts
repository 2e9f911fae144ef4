/** ggml's types of tensors (ggml-org/ggml: include/ggml.h, `enum ggml_type`), by the number that a GGUF file gives. */

import { packedStorage, type Packing } from "../../graph/storages/registry.ts";
import { show } from "../../show.ts";
import type { FileBlocks } from "../../graph/storages/storage.ts";

/** The packings that GGUF files have. */
export type FilePacking = Exclude<Packing, "int8" | "int4">;

/** A type that is read, by its name in ggml: float32, or a packing in capitals. */
export type GgufDtype = "F32" | Uppercase<FilePacking>;

/** The names of all types; those that were taken back have none. */
// deno-fmt-ignore: ten a row
const names = [
  "F32", "F16", "Q4_0", "Q4_1", , , "Q5_0", "Q5_1", "Q8_0", "Q8_1",
  "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
  "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64", "F64", "IQ1_M",
  "BF16", , , , "TQ1_0", "TQ2_0", , , , "MXFP4",
  "NVFP4", "Q1_0",
];

/** The types that are read. */
// deno-fmt-ignore: one row per size
export const ggufDtypes: readonly GgufDtype[] = [
  "F32", "F16", "BF16",
  "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0",
  "Q4_K", "Q5_K", "Q6_K",
];

/** The name of the type with this number, for messages where it is none that is read. */
export function dtypeName(type: number): string {
  return names[type] ?? `type ${type}, which ggml does not have`;
}

/** The number of a type. */
export function dtypeNumber(dtype: GgufDtype): number {
  return names.indexOf(dtype);
}

/** True for the types that are read. */
export function isGgufDtype(name: string): name is GgufDtype {
  return ggufDtypes.some((dtype) => dtype === name);
}

/** The packing that has this type's blocks. */
export function packingOf(dtype: Exclude<GgufDtype, "F32">): FilePacking {
  return dtype.toLowerCase() as FilePacking;
}

/** How files hold this type. */
export function fileBlocks(dtype: Exclude<GgufDtype, "F32">): FileBlocks {
  return packedStorage(packingOf(dtype)).inFile!;
}

/** The types that are written. */
export type WrittenDtype = "F32" | "F16" | "Q8_0";

/** The bytes of finite values in this type. Throws an Error that names the tensor for values that the type does not have. */
export function encodedAs(
  dtype: WrittenDtype,
  name: string,
  values: Float32Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  if (dtype === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  try {
    return fileBlocks(dtype).encode!(values);
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`tensor ${show(name)} ${message}: look at what the adapter makes of it`, {
      cause: error,
    });
  }
}

/** The `count` values that such bytes stand for. */
export function decodedFrom(
  dtype: WrittenDtype,
  bytes: Uint8Array<ArrayBuffer>,
  count: number,
): Float32Array<ArrayBuffer> {
  return dtype === "F32"
    ? new Float32Array(bytes.buffer, bytes.byteOffset, count)
    : fileBlocks(dtype).decode(bytes, new Float32Array(count));
}
