/** Safetensors files written tensor by tensor, so that no more than a piece of them need be in the host's memory. */

import { writeAll } from "../files.ts";
import { bytesOfDtype, type SafetensorsDtype, type TensorPlace } from "./safetensors.ts";

/** Bytes that are copied at a time. */
const pieceBytes = 4 * 2 ** 20;

/** A tensor that is about to be written. */
export interface TensorSource {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** Its bytes in order, asked for once. */
  pieces(): AsyncIterable<Uint8Array<ArrayBuffer>>;
}

/**
 * Writes `tensors` to `path` as PyTorch's are: largest elements first, so that all are aligned, otherwise in their order;
 * the disk has them then.
 * @throws Error when a tensor's pieces are not as many bytes as its shape takes.
 */
export async function writeTensors(path: string, tensors: readonly TensorSource[]): Promise<void> {
  const ordered = tensors.toSorted((a, b) => bytesOfDtype(b.dtype) - bytesOfDtype(a.dtype));
  using file = await Deno.create(path);
  await writeAll(file, headerOf(ordered));
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

/** The file's beginning up to its data: see `safetensors.ts`. */
function headerOf(tensors: readonly TensorSource[]): Uint8Array {
  let end = 0;
  const entries = tensors.map((tensor) => {
    const begin = end;
    end += sizeOf(tensor);
    return [tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] }];
  });
  // transformers wants to be told the framework.
  const json = JSON.stringify({ __metadata__: { format: "pt" }, ...Object.fromEntries(entries) });
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
 * The bytes of a tensor of a file as they are, piece by piece; each piece holds only until the next one is asked for.
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
