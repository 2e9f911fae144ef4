/** Writes GGUF files of version 3 (see `header.ts`) tensor by tensor, with only one piece in memory at a time. */

import { writeAll } from "../../files.ts";
import { show } from "../../show.ts";
import { blockOf } from "../stored_place.ts";
import { dtypeNumber, type GgufDtype } from "./dtypes.ts";
import type { GgufValue } from "./metadata.ts";
import { entryBytes, textBytes, uint32Bytes, uint64Bytes } from "./metadata_bytes.ts";

/** A tensor to be written. */
export interface GgufTensor {
  readonly name: string;
  readonly dtype: GgufDtype;
  /** As in PyTorch, with the contiguous extent last: a multiple of the type's block. */
  readonly shape: readonly number[];
  /** Its bytes in order; called once. */
  pieces(): Iterable<Uint8Array<ArrayBuffer>> | AsyncIterable<Uint8Array<ArrayBuffer>>;
}

/**
 * Writes `tensors` to `path` in the given order, aligned as `general.alignment` says, or to 32 bytes. The file is flushed to disk
 * before this returns.
 * @throws Error when a tensor's pieces do not have as many bytes as its shape and type require.
 */
export async function writeGguf(
  path: string,
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly GgufTensor[],
): Promise<void> {
  const alignment = Number(metadata.get("general.alignment")?.value ?? 32);
  const padding = (bytes: number) => new Uint8Array((alignment - bytes % alignment) % alignment);
  using file = await Deno.create(path);
  const header = headerOf(path, metadata, tensors, (size) => size + padding(size).length);
  await writeAll(file, header);
  await writeAll(file, padding(header.length));
  for (const tensor of tensors) {
    let written = 0;
    for await (const piece of tensor.pieces()) {
      await writeAll(file, piece);
      written += piece.length;
    }
    const size = sizeOf(path, tensor);
    if (written !== size) {
      throw new Error(`${path}: tensor ${show(tensor.name)} takes ${size} bytes, and there are ${written}`);
    }
    await writeAll(file, padding(written));
  }
  await file.syncData();
}

function headerOf(
  path: string,
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly GgufTensor[],
  padded: (size: number) => number,
): Uint8Array<ArrayBuffer> {
  let offset = 0;
  const infos = tensors.flatMap((tensor) => {
    const begin = offset;
    offset += padded(sizeOf(path, tensor));
    return [
      ...textBytes(tensor.name),
      uint32Bytes(tensor.shape.length),
      ...tensor.shape.toReversed().map(uint64Bytes),
      uint32Bytes(dtypeNumber(tensor.dtype)),
      uint64Bytes(begin),
    ];
  });
  return joined([
    new TextEncoder().encode("GGUF"),
    uint32Bytes(3),
    uint64Bytes(tensors.length),
    uint64Bytes(metadata.size),
    ...[...metadata].flatMap(([key, value]) => entryBytes(key, value)),
    ...infos,
  ]);
}

/** A tensor's bytes. Throws an Error when its rows are no whole blocks. */
function sizeOf(path: string, { name, dtype, shape }: GgufTensor): number {
  const { values, bytes } = blockOf(dtype);
  if (shape.at(-1)! % values === 0) return shape.reduce((a, b) => a * b, 1) / values * bytes;
  throw new Error(
    `${path}: tensor ${show(name)} is [${shape}], and ${dtype} wants rows of ${values} values at a time`,
  );
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((size, { length }) => size + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
