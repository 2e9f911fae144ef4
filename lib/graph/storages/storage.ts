/**
 * How a matrix lies on the GPU. Every op computes in f32; a storage says how many bits a value takes, how WGSL reads four
 * neighbouring values, and what the stored words mean on the CPU. Products and embedding look-ups read every storage in
 * this one way. To add one, write a file here and a line in `registry.ts`.
 */

/** The words of a stored matrix, and its scales where they are in a buffer of their own. */
export interface StoredValues {
  readonly words: Uint32Array<ArrayBuffer>;
  readonly scales?: Float32Array<ArrayBuffer>;
}

/** The bytes of an array, not a copy. */
export function bytesIn(
  { buffer, byteOffset, byteLength }: ArrayBufferView<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** The halves of an array's words, not a copy. */
export function halvesIn(
  { buffer, byteOffset, byteLength }: ArrayBufferView<ArrayBuffer>,
): Uint16Array<ArrayBuffer> {
  return new Uint16Array(buffer, byteOffset, byteLength / 2);
}

/** Where a kernel finds a stored matrix: the WGSL name of its buffer, and the binding numbers. */
export interface StoredAt {
  readonly name: string;
  readonly binding: number;
  /** Of the buffer `scales`. */
  readonly scalesBinding: number;
}

/**
 * How WGSL reads runs of a stored matrix, each by whole words of its integers, for lanes that share a row. A run is a
 * `Run`: `words` and `more`, vec4u, and the `scale` and `start` of value = scale · integer + start.
 */
export interface RunReading {
  /** Vec4s in a run, which begins at a multiple of its length. */
  readonly quads: 4 | 8;
  /** Whether `start` is not always 0. */
  readonly hasStart: boolean;
  bindings(at: StoredAt): string;
  /** The body of a function of `i: u32` that returns the i-th run in row-major order. */
  load(name: string): string;
  /** The body of a function of `run: Run` and `p: u32` that returns the p-th four integers, a vec4f. */
  readonly integers: string;
}

/** How WGSL reads eight values of a row at once, two quads, for lanes that read along the columns. */
export interface PairReading {
  /**
   * Columns from a pair's first quad to its second: 4, or 16 where one word has both. The i-th pair of a row begins at column 8 · i,
   * or in its i/4-th 32 columns at the i%4-th quad.
   */
  readonly apart: 4 | 16;
  /** The body of a function of `i: u32` that returns the i-th pair in row-major order, a `Pair`. */
  load(name: string): string;
}

/** How WGSL reads a stored matrix. The texts are templates (see `gpu/render.ts`). */
export interface Reading {
  /** The device feature without which it cannot be used. */
  readonly needs?: "f16";
  bindings(at: StoredAt): string;
  /** The body of a function of `i: u32` that returns the i-th four values in row-major order, a vec4f. */
  load(name: string): string;
  /**
   * How the subgroup kernel walks along B where that is not by row-major places: `start` declares the places b_at0,
   * b_at1, … as indices of the buffer, and `hop` follows each load.
   */
  readonly walk?: { readonly start: string; readonly hop: string };
  /** A faster way for whole runs; absent where four values at a time are as good. */
  readonly run?: RunReading;
  /** A faster way for eight values; absent where four at a time are as good. */
  readonly pair?: PairReading;
  /** Further names in the texts. */
  readonly defines?: Readonly<Record<string, number>>;
}

/** A storage of matrices [rows, columns]. */
export interface Storage {
  /** The dtype of tensors that are stored so. */
  readonly name: string;
  /** Bits per value, with what lies between the values. */
  readonly bits: number;
  /** Number of values, contiguous in memory, for each of the scales in a buffer of their own. */
  readonly scaleEvery?: number;
  /** Elements from one piece of a matrix of `rows` to the next, for storages in pieces; the kernels' stride_b. */
  strideOf?(rows: number): number;
  /** What is wanted of the shape, if a matrix of this shape cannot be stored so; undefined if it can. */
  refusal(shape: readonly number[]): string | undefined;
  readonly reading: Reading;
  /** A reading with the same values for devices that have what it needs; the autotuner tries both. */
  readonly alternative?: Reading;
  /**
   * Stores a matrix of finite values in `out`, which is as long as they need; what it holds is overwritten. Throws an Error that
   * continues a sentence about the matrix, for values beyond the storage's range.
   */
  pack?(values: Float32Array<ArrayBuffer>, out: StoredValues): void;
  /** The values that stored words stand for, row-major: those with which the float64 interpreter computes. */
  unpack?(stored: StoredValues): Float32Array<ArrayBuffer>;
  /** How GGUF files hold such a matrix, if they can. */
  readonly inFile?: FileBlocks;
}

/** The blocks of a storage's matrices in GGUF files. The functions take any number of whole blocks. */
export interface FileBlocks {
  /** Values in a block, neighbours in a row. */
  readonly values: number;
  /** Bytes of a block. */
  readonly bytes: number;
  /** Writes the storage's words for the blocks, whose number of values is a multiple of 4, to `out`, which is as long. */
  aligned(file: Uint8Array<ArrayBuffer>, out: Uint32Array<ArrayBuffer>): void;
  /** Writes the values of the blocks to `out`, which is as long, and returns it. */
  decode(file: Uint8Array<ArrayBuffer>, out: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer>;
  /** Whether all values of the blocks are finite. */
  isFinite(file: Uint8Array<ArrayBuffer>): boolean;
  /** The blocks of finite values; absent where files alone have them. Throws as `pack` does. */
  encode?(values: Float32Array<ArrayBuffer>): Uint8Array<ArrayBuffer>;
}

/** A storage that frozen weights can have. */
export type PackedStorage = Storage & Required<Pick<Storage, "unpack">>;

/** A storage that a model's weights can be packed into. */
export type WritableStorage = PackedStorage & Required<Pick<Storage, "pack">>;

/** A storage that GGUF files have. */
export type FileStorage = PackedStorage & Required<Pick<Storage, "inFile">>;

/** `refusal` of the storages that are read as vec4 along either dimension, in groups of `length` values. */
export function refusesUnless(length: number) {
  return (shape: readonly number[]): string | undefined => {
    const isMatrix = shape.length === 2 && shape.every((extent) => extent % 4 === 0);
    if (isMatrix && shape[0] * shape[1] % length === 0) return undefined;
    return `packing wants a matrix of multiples of 4${length > 4 ? `, ${length} values at a time` : ""}`;
  };
}
