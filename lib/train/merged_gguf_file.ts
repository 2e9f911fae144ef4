/** Writes a merged model as a GGUF file in pieces, and reads it back. */

import { decodedFrom, encodedAs, type WrittenDtype } from "../models/gguf/dtypes.ts";
import { readGgufHeader } from "../models/gguf/header.ts";
import type { GgufValue } from "../models/gguf/metadata.ts";
import { type GgufTensor, writeGguf } from "../models/gguf/writer.ts";
import { blockOf, sizeOf } from "../models/stored_place.ts";
import { PieceRoom, StoredWeight } from "../models/stored_weight.ts";
import { PassingDigest } from "../models/values_digest.ts";

/** A type that matrices of a merged GGUF file can have: 16 bits a value, or 8.5 in blocks of 32. */
export type GgufType = "f16" | "q8_0";

/** All of them. */
export const ggufTypes: readonly GgufType[] = ["f16", "q8_0"];

/** `general.file_type` (llama.cpp: `LlamaFileType`). */
const fileTypes = { f16: 1, q8_0: 7 };

/** A tensor of a merged model. */
export interface MergedTensor {
  /** Its name in GGUF. */
  readonly name: string;
  readonly shape: readonly number[];
  /** It stays F32 although it is a matrix. */
  readonly staysF32?: boolean;
  /** Its values in order, in pieces of whole blocks; called once. */
  values(): AsyncIterable<Float32Array<ArrayBuffer>> | Iterable<Float32Array<ArrayBuffer>>;
}

/** What a merged file holds. */
export interface MergedParts {
  /** Without what is said of the type. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly MergedTensor[];
}

/**
 * Writes the file at `path`: matrices in `type`, or as F16 where a row is no whole number of blocks, and vectors as F32. One piece is
 * in memory at a time. The file is then read back.
 * @throws Error for values that the type does not have, and when a tensor is not read as it was written.
 */
export async function writeMergedGguf(path: string, parts: MergedParts, type: GgufType): Promise<void> {
  const metadata = new Map<string, GgufValue>([
    ...parts.metadata,
    ["general.file_type", { type: "uint32", value: fileTypes[type] }],
    ...type === "q8_0"
      ? [["general.quantization_version", { type: "uint32", value: 2 }] as [string, GgufValue]]
      : [],
  ]);
  const tensors = parts.tensors.map((tensor) => digested(tensor, dtypeFor(tensor, type)));
  await writeGguf(path, metadata, tensors.map(({ tensor }) => tensor));
  await checkWritten(path, tensors);
}

function dtypeFor({ shape, staysF32 }: MergedTensor, type: GgufType): WrittenDtype {
  if (shape.length < 2 || staysF32) return "F32";
  return type === "q8_0" && shape.at(-1)! % blockOf("Q8_0").values === 0 ? "Q8_0" : "F16";
}

/** A tensor to write, and the digest of its values as they are written. */
interface Digested {
  readonly tensor: GgufTensor;
  readonly digest: PassingDigest;
}

function digested({ name, shape, values }: MergedTensor, dtype: WrittenDtype): Digested {
  const digest = new PassingDigest(sizeOf({ shape }));
  return {
    digest,
    tensor: {
      name,
      dtype,
      shape,
      async *pieces() {
        for await (const piece of values()) {
          const bytes = encodedAs(dtype, name, piece);
          digest.take(digest.taken, decodedFrom(dtype, bytes, piece.length));
          yield bytes;
        }
      },
    },
  };
}

/** Throws an Error unless the file at `path` has these tensors, with the values that were written. */
async function checkWritten(path: string, tensors: readonly Digested[]): Promise<void> {
  const { places } = await readGgufHeader(path);
  const room = new PieceRoom();
  for (const { tensor: { name, dtype, shape }, digest } of tensors) {
    const place = places.get(name);
    const isThere = place?.dtype === dtype && place.shape.join() === shape.join();
    if (isThere && new StoredWeight(place).digest(room) === digest.value) continue;
    throw new Error(
      `${path}: tensor "${name}" is not read as it was written: look at the disk, and merge again`,
    );
  }
}
