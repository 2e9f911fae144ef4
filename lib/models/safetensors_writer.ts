/** Writes safetensors files tensor by tensor, with only one piece in memory at a time. */

import { writeAll } from "../files.ts";
import { bytesOfDtype, type SafetensorsDtype, type TensorPlace } from "./safetensors.ts";

/** Number of bytes copied at a time. */
const pieceBytes = 4 * 2 ** 20;

/** A tensor to be written. */
export interface TensorSource {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** Its bytes in order; called once. */
  pieces(): AsyncIterable<Uint8Array<ArrayBuffer>>;
}

/**
 * Writes `tensors` to `path` in the order that safetensors uses for PyTorch: by decreasing element size, so
 * that all are aligned, and otherwise in the given order; `metadata` becomes a part of `__metadata__`. The file is flushed to disk
 * before this returns.
 * @throws Error when a tensor's pieces do not have as many bytes as its shape and dtype require.
 */
export async function writeTensors(
  path: string,
  tensors: readonly TensorSource[],
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const ordered = tensors.toSorted((a, b) => bytesOfDtype(b.dtype) - bytesOfDtype(a.dtype));
  using file = await Deno.create(path);
  await writeAll(file, headerOf(ordered, metadata));
  for (const tensor of ordered) {
    let written = 0;
    for await (const piece of tensor.pieces()) {
      await writeAll(file, piece);
      written += piece.length;
    }
    if (written !== sizeOf(tensor)) {
      throw new Error(`${path}: "${tensor.name}" takes ${sizeOf(tensor)} bytes, and there are ${written}`);
    }
  }
  await file.syncData();
}

/** The file's header: see `safetensors.ts`. */
function headerOf(
  tensors: readonly TensorSource[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  let end = 0;
  const entries = tensors.map((tensor) => {
    const begin = end;
    end += sizeOf(tensor);
    return [tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] }];
  });
  // transformers requires the framework to be stated.
  const json = JSON.stringify({
    __metadata__: { format: "pt", ...metadata },
    ...Object.fromEntries(entries),
  });
  const text = new TextEncoder().encode(json);
  const length = Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(" ".charCodeAt(0));
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(text, 8);
  return bytes;
}

function sizeOf({ dtype, shape }: TensorSource): number {
  return shape.reduce((product, extent) => product * extent, bytesOfDtype(dtype));
}

/**
 * The bytes of a tensor in a file, piece by piece. Each piece is valid only until the next one is requested.
 * @throws Error when the file has become shorter.
 */
export async function* bytesAt(
  { name, origin, begin, end }: TensorPlace,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  using file = await Deno.open(origin);
  await file.seek(begin, Deno.SeekMode.Start);
  const buffer = new Uint8Array(Math.min(pieceBytes, end - begin));
  for (let at = begin; at < end;) {
    const read = await file.read(buffer.subarray(0, end - at));
    if (read === null) {
      throw new Error(`${origin}: ends inside tensor "${name}": the file was changed while it was in use`);
    }
    yield buffer.subarray(0, read);
    at += read;
  }
}
