/**
 * Weights that stay in their file until they are needed, so that a model need not fit into the host's memory.
 */

import { openFile } from "../files.ts";
import type { StoredValues } from "../graph/storages/storage.ts";
import { show } from "../show.ts";
import type { Weight } from "./model.ts";
import type { StoredLengths } from "./packing.ts";
import { readBlocks, sizeOf, type StoredDtype, type StoredPlace, valuesOf } from "./stored_place.ts";
import { PassingDigest } from "./values_digest.ts";

/** Number of values that are read and converted at a time; whole blocks of every type. */
export const pieceLength: number = 2 ** 20;

/** Largest storage-buffer binding in bytes that every WebGPU device supports. */
const largestBinding = 128 * 2 ** 20;

/** A weight whose values are read in pieces, so that they need not all be in memory at once. */
export interface WeightInPieces extends Weight {
  /** Size of the values as float32, in bytes. */
  readonly bytes: number;
  /**
   * The values in order, piece by piece. Each piece is valid only until the next one is requested or `room`
   * is reused.
   */
  pieces(room?: PieceRoom): Iterable<Float32Array<ArrayBuffer>>;
}

/** True for weights that should be read in pieces. */
export function isInPieces(weight: object): weight is WeightInPieces {
  return "pieces" in weight;
}

/**
 * Buffers for one piece. Weights that are read one after the other should share them, because V8 accumulates
 * hundreds of megabytes of arrays before it frees them.
 */
export class PieceRoom {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly values: Float32Array<ArrayBuffer>;
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #scales: Float32Array<ArrayBuffer>;

  /** For pieces of up to `length` values, each at most 8 bytes in its file. */
  constructor(length: number = pieceLength) {
    this.bytes = new Uint8Array(8 * length);
    this.values = new Float32Array(length);
    this.#words = new Uint32Array(length);
    this.#scales = new Float32Array(length);
  }

  /** Room for the packed values of a piece, and for their scales, if they have any in a buffer of their own. */
  packed({ words, scales }: StoredLengths): StoredValues {
    return {
      words: this.#words.subarray(0, words),
      ...scales > 0 && { scales: this.#scales.subarray(0, scales) },
    };
  }
}

/**
 * A tensor in a file, or a range of its rows, as float32. Each access to `data` or `pieces` reads
 * the file and keeps nothing, so do not access them in a loop.
 */
export class StoredWeight implements WeightInPieces {
  readonly shape: readonly number[];
  readonly #place: StoredPlace;
  readonly #digest: PassingDigest;
  /** Index in the tensor of the first value. */
  readonly #first: number;

  /** Rows `from` to `to` (exclusive), by default all. Parts of one tensor share its `digest`. */
  constructor(
    place: StoredPlace,
    [from, to]: readonly [number, number] = [0, place.shape[0]],
    digest: PassingDigest = new PassingDigest(sizeOf(place)),
  ) {
    const [, ...row] = place.shape;
    this.shape = [to - from, ...row];
    this.#place = place;
    this.#digest = digest;
    this.#first = from * row.reduce((a, b) => a * b, 1);
  }

  /** The dtype of the values in the file. */
  get dtype(): StoredDtype {
    return this.#place.dtype;
  }

  /** Bytes of the values, as float32. */
  get bytes(): number {
    return 4 * sizeOf(this);
  }

  /**
   * Digest (see `digestOfValues`) of the whole tensor, even if this is only part of it. It covers the values
   * as they were first read; values that have not been read yet are read now. Throws as `pieces` does.
   */
  digest(room: PieceRoom): string {
    const { taken } = this.#digest;
    if (taken < sizeOf(this.#place)) {
      const whole = new StoredWeight(this.#place, [0, this.#place.shape[0]], this.#digest);
      for (const _ of whole.#piecesFrom(taken, room));
    }
    return this.#digest.value;
  }

  /** All values. Throws as `pieces` does. */
  get data(): Float32Array<ArrayBuffer> {
    const values = new Float32Array(this.bytes / 4);
    let at = 0;
    for (const piece of this.pieces()) {
      values.set(piece, at);
      at += piece.length;
    }
    return values;
  }

  /**
   * The values in order, piece by piece. Each piece is valid only until the next one is requested or `room`
   * is reused.
   * @throws what opening the file throws, and Error when the file has become shorter, its dtype is not a
   * float type, or a value is not finite: kernels may drop a NaN, so it might never show in the loss.
   */
  pieces(
    room: PieceRoom = new PieceRoom(Math.min(pieceLength, this.bytes / 4)),
  ): Generator<Float32Array<ArrayBuffer>> {
    return this.#piecesFrom(0, room);
  }

  *#piecesFrom(first: number, room: PieceRoom): Generator<Float32Array<ArrayBuffer>> {
    const count = this.bytes / 4;
    using file = openFile(this.#place.origin);
    for (let at = first; at < count; at += pieceLength) {
      const length = Math.min(pieceLength, count - at);
      const data = readBlocks(file, this.#place, [this.#first + at, length], room.bytes);
      const values = valuesOf(this.#place, data, room.values.subarray(0, length));
      if (!areFinite(values)) {
        throw notFinite(this.#place);
      }
      this.#digest.take(this.#first + at, values);
      yield values;
    }
  }
}

/** Whether two tensors are stored in the same bytes, as one shape and dtype. Throws as reading them does. */
export function haveEqualBytes(a: StoredPlace, b: StoredPlace): boolean {
  if (a.dtype !== b.dtype || a.shape.join() !== b.shape.join()) return false;
  using own = openFile(a.origin);
  using other = openFile(b.origin);
  const [room, otherRoom] = [new PieceRoom(), new PieceRoom()];
  for (let at = 0; at < sizeOf(a); at += pieceLength) {
    const range = [at, Math.min(pieceLength, sizeOf(a) - at)] as const;
    const bytes = readBlocks(own, a, range, room.bytes);
    const others = readBlocks(other, b, range, otherRoom.bytes);
    for (let i = 0; i < bytes.length; i++) if (bytes[i] !== others[i]) return false;
  }
  return true;
}

/** The error for a tensor with infinities or NaNs. */
export function notFinite({ origin, name }: StoredPlace): Error {
  return new Error(
    `${origin}: tensor ${show(name)} holds values that are not finite: download or save the file again`,
  );
}

/**
 * True when all values are finite: 0 · ∞ and 0 · NaN are NaN, which makes the sum NaN. Ten times as fast as
 * `every(Number.isFinite)`.
 */
function areFinite(values: Float32Array): boolean {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += 0 * values[i];
  return sum === 0;
}

/** Rows `from` to `to` (exclusive) of a table, stored under `name`. */
export interface TablePart {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** How a table lies on the GPU. */
export interface TableLayout {
  /** Bits per value. */
  readonly bits: number;
  /** Every part but the last has a multiple of so many rows. */
  readonly rowsAtOnce: number;
}

/**
 * The parts in which a table [rows, n] is stored, by default as f32: of nearly equal size, and each small enough for every
 * device to bind. A single part has the table's own name; several have names such as `table[0:25133]`.
 */
export function tableParts(
  name: string,
  [rows, n]: readonly number[],
  { bits, rowsAtOnce }: TableLayout = { bits: 32, rowsAtOnce: 1 },
): TablePart[] {
  // Both ends of a part may move by half of `rowsAtOnce`.
  const most = Math.floor(largestBinding / (n * bits / 8)) - 2 * (rowsAtOnce - 1);
  const count = Math.ceil(rows / most);
  const cut = (part: number) =>
    part === count ? rows : Math.round(part * rows / count / rowsAtOnce) * rowsAtOnce;
  return Array.from({ length: count }, (_, part) => {
    const [from, to] = [cut(part), cut(part + 1)];
    return { name: count === 1 ? name : `${name}[${from}:${to}]`, from, to };
  });
}

/** The suffix of a part's name. */
const partOf = /\[\d+:\d+\]$/;

/** True for the name of a part of a table. */
export function isTablePart(name: string): boolean {
  return partOf.test(name);
}

/** The first row of a part of a table; 0 for other names. */
export function firstRowOf(name: string): number {
  return Number(/\[(\d+):\d+\]$/.exec(name)?.[1] ?? 0);
}

/** The name of the table that a part belongs to; other names are returned unchanged. */
export function tableOf(name: string): string {
  return name.replace(partOf, "");
}
