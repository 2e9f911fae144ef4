/**
 * Storages whose blocks lie on the GPU as in a GGUF file (ggml-org/ggml: docs/gguf.md and src/ggml-common.h). A block
 * stands for 32 or 256 neighbouring values of a row. It has a header of f16 scales, unless they come last, and a body. A
 * file packs blocks byte to byte; on the GPU header and body begin at whole words.
 */

import {
  bytesIn,
  type FileStorage,
  halvesIn,
  type PairReading,
  type RunReading,
  type StoredAt,
  type WritableStorage,
} from "./storage.ts";

/** Blocks as bytes and as f16. */
export interface BlockBytes {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly halves: Float16Array<ArrayBuffer>;
}

/** A kind of block. Places in the functions are bytes. */
export interface BlockFormat {
  readonly name: string;
  /** Number of values. */
  readonly values: 32 | 256;
  /** Bytes of the header and the body. Both are even. */
  readonly header: number;
  readonly body: number;
  /** Places of the f16 scales in a file's block. Finite scales make finite values. */
  readonly scalesAt: readonly number[];
  /** `Reading.load`, for blocks of so many words. */
  load(name: string, words: number): string;
  /** `RunReading` without its bindings, for blocks of so many words. */
  readonly run?: Omit<RunReading, "bindings" | "load"> & { load(name: string, words: number): string };
  /** `PairReading`, for blocks of so many words. */
  readonly pair?: { readonly apart: PairReading["apart"]; load(name: string, words: number): string };
  /** Writes the values of the block with its header and body at these places to `out`, from index `to` on. */
  decode(blocks: BlockBytes, header: number, body: number, out: Float32Array<ArrayBuffer>, to: number): void;
}

/** A kind of block that values can be packed into. */
export interface WritableFormat extends BlockFormat {
  /** Writes the block that stands for `values`, which are finite. The bytes there are 0. */
  encode(values: Float32Array, blocks: BlockBytes, header: number, body: number): void;
}

/** Writes a scale at byte `at`. Throws an Error that continues a sentence about the matrix for one beyond f16. */
export function writeScale({ halves }: BlockBytes, at: number, scale: number): void {
  halves[at / 2] = scale;
  if (Number.isFinite(halves[at / 2])) return;
  throw new Error("holds values whose scale is beyond f16's 65504");
}

/** WGSL for a vec4u of the words from `at` on. */
export function fourWords(name: string, at: string): string {
  return `vec4u(${[0, 1, 2, 3].map((e) => `${name}[${at} + ${e}u]`).join(", ")})`;
}

/** Bytes of a header or body on the GPU. */
function inWords(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}

function blockBytes(view: ArrayBufferView<ArrayBuffer>): BlockBytes {
  const { buffer, byteOffset, byteLength } = view;
  return { bytes: bytesIn(view), halves: new Float16Array(buffer, byteOffset, byteLength / 2) };
}

/** Blocks of a file; a copy of them if they begin at an odd byte. */
function fileBytes(file: Uint8Array<ArrayBuffer>): BlockBytes {
  return blockBytes(file.byteOffset % 2 === 0 ? file : file.slice());
}

function align(
  { header, body }: BlockFormat,
  file: Uint8Array<ArrayBuffer>,
  out: Uint32Array<ArrayBuffer>,
): void {
  if (inWords(header) === header && inWords(body) === body) return bytesIn(out).set(file);
  const [from, to] = [(header + body) / 2, (inWords(header) + inWords(body)) / 2];
  const count = file.length / (header + body);
  // Bit patterns, which need not be numbers that survive as floats.
  const halves = halvesIn(fileBytes(file).bytes);
  const own = halvesIn(out).fill(0);
  for (let block = 0; block < count; block++) {
    const [read, write] = [block * from, block * to];
    for (let i = 0; i < header / 2; i++) own[write + i] = halves[read + i];
    const gap = inWords(header) / 2 - header / 2;
    for (let i = header / 2; i < from; i++) own[write + gap + i] = halves[read + i];
  }
}

function decodeAll(
  { values, decode }: BlockFormat,
  blocks: BlockBytes,
  [header, body]: readonly [number, number],
  out: Float32Array<ArrayBuffer>,
): Float32Array<ArrayBuffer> {
  const count = blocks.bytes.length / (header + body);
  for (let block = 0; block < count; block++) {
    const at = block * (header + body);
    decode(blocks, at, at + header, out, block * values);
  }
  return out;
}

/** The storage of a kind of block. */
export function blocksOf(format: BlockFormat): FileStorage {
  const { name, values, header, body, scalesAt } = format;
  const words = (inWords(header) + inWords(body)) / 4;
  const bindings = ({ name, binding }: StoredAt) =>
    `@group(0) @binding(${binding}) var<storage, read> ${name}: array<u32>;`;
  const { run, pair } = format;
  return {
    name,
    bits: words * 32 / values,
    refusal: ([, columns, ...more]) =>
      more.length === 0 && columns % values === 0 ? undefined : `wants rows of ${values} values at a time`,
    reading: {
      bindings,
      load: (name) => format.load(name, words),
      run: run && { ...run, bindings, load: (name) => run.load(name, words) },
      pair: pair && { ...pair, load: (name) => pair.load(name, words) },
    },
    unpack(stored) {
      const out = new Float32Array(stored.words.length / words * values);
      return decodeAll(format, blockBytes(stored.words), [inWords(header), inWords(body)], out);
    },
    inFile: {
      values,
      bytes: header + body,
      aligned: (file, out) => align(format, file, out),
      decode: (file, out) => decodeAll(format, fileBytes(file), [header, body], out),
      isFinite(file) {
        const { halves } = fileBytes(file);
        for (let at = 0; at < file.length; at += header + body) {
          for (const scaleAt of scalesAt) if (!Number.isFinite(halves[(at + scaleAt) / 2])) return false;
        }
        return true;
      },
    },
  };
}

/** The storage of a kind of block that values can be packed into. */
export function writableBlocksOf(format: WritableFormat): WritableStorage & FileStorage {
  const { values: size, header, body } = format;
  const encodeAll = (values: Float32Array, toBody: number, bytes: Uint8Array<ArrayBuffer>) => {
    const blocks = blockBytes(bytes);
    const toNext = size * bytes.length / values.length;
    for (let block = 0; block < values.length / size; block++) {
      const at = block * toNext;
      format.encode(values.subarray(block * size, (block + 1) * size), blocks, at, at + toBody);
    }
    return bytes;
  };
  const storage = blocksOf(format);
  return {
    ...storage,
    pack: (values, { words }) => encodeAll(values, inWords(header), bytesIn(words).fill(0)),
    inFile: {
      ...storage.inFile,
      encode: (values) => encodeAll(values, header, new Uint8Array(values.length / size * (header + body))),
    },
  };
}
