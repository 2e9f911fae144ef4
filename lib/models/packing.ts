/** Packed weights: linear layers in fewer bits, in one of the storages of `graph/storages`. */

import {
  packedStorage,
  type Packing,
  type WritablePacking,
  writableStorage,
} from "../graph/storages/registry.ts";
import type { StoredValues } from "../graph/storages/storage.ts";
import { fingerprintOf, type WeightFingerprint } from "./fingerprint.ts";
import type { Model, Weight } from "./model.ts";

/** A packed weight in the layout that the kernels read. */
export interface PackedWeight {
  /** Dimensions of the unpacked matrix, [outputs, inputs]. */
  readonly shape: readonly number[];
  /** The storage format. */
  readonly packing: Packing;
  /** The packed values, lowest bits of a word first; see the packing's file in `graph/storages`. */
  readonly words: Uint32Array<ArrayBuffer>;
  /**
   * Of int8 and int4: one scale for each 64 values, contiguous in memory. Undefined in the other packings, which have none or
   * have them among the words.
   */
  readonly scales?: Float32Array<ArrayBuffer>;
  /** Fingerprint of the original weight; undefined for one that has no values. */
  readonly origin: WeightFingerprint | undefined;
}

/** Numbers of a matrix's words, and of scales in a buffer of their own. */
export interface StoredLengths {
  readonly words: number;
  readonly scales: number;
}

/** The lengths of a matrix of this shape. */
export function storedLengths({ shape, packing }: Pick<PackedWeight, "shape" | "packing">): StoredLengths {
  const size = shape.reduce((product, extent) => product * extent, 1);
  const { bits, scaleEvery } = packedStorage(packing);
  return { words: size * bits / 32, scales: scaleEvery ? size / scaleEvery : 0 };
}

/** Throws an Error with what the packing wants of a shape, if it does not take this one, and for one that only files have. */
export function checkPackable(name: string, shape: readonly number[], packing: WritablePacking): void {
  const refused = writableStorage(packing).refusal(shape);
  if (refused) throw new Error(`"${name}" is [${shape}]: ${refused}`);
}

/** Packs values of the weight `name` into `out`. Throws an Error when one of them is beyond the packing's range. */
export function packValues(
  name: string,
  values: Float32Array<ArrayBuffer>,
  packing: WritablePacking,
  out: StoredValues,
): void {
  try {
    writableStorage(packing).pack(values, out);
  } catch (error) {
    throw new Error(`"${name}" ${(error as Error).message}: pack it as int8`, { cause: error });
  }
}

/**
 * Packs `weight`.
 * @throws Error with what the packing wants of a shape, or when a value is not finite or beyond its range.
 */
export function pack(name: string, weight: Weight, packing: WritablePacking): PackedWeight {
  checkPackable(name, weight.shape, packing);
  const { data } = weight;
  if (!data.every(Number.isFinite)) {
    throw new Error(`"${name}" holds values that are not finite: mend them before you pack it`);
  }
  const { shape } = weight;
  const lengths = storedLengths({ shape, packing });
  const stored = {
    words: new Uint32Array(lengths.words),
    ...lengths.scales > 0 && { scales: new Float32Array(lengths.scales) },
  };
  packValues(name, data, packing, stored);
  return { shape, packing, ...stored, origin: fingerprintOf(weight) };
}

/** The values of a packed weight. */
export function unpack({ shape, packing, words, scales }: PackedWeight): Weight {
  return { shape, data: packedStorage(packing).unpack({ words, scales }) };
}

/**
 * Returns a copy of `model` whose linear layers are packed, to save GPU memory. Layers that run once per text
 * (BERT's pooler) and all other weights stay as they are. Packed weights are frozen, and methods that change
 * them or compute with them directly (full fine-tuning, ReLoRA, DoRA, HiRA) throw an Error.
 * @throws Error with the layer's name and what the packing wants of its shape, when a value is not finite or beyond its range,
 * for a model that is packed, and for a packing that only files have.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { loadUseLite, packModel } from "@bora/webgpu";
 *
 * const model = await loadUseLite();
 * const name = "layer.0.attention.query.weight";
 * const { words, scales } = packModel(model, "int8").packed!.get(name)!;
 * const before = model.weights.get(name)!.data.byteLength;
 * assert.ok(words.byteLength + scales!.byteLength < before / 3);
 * ```
 */
export function packModel(model: Model, packing: WritablePacking): Model {
  if (model.packed) throw new Error(`${model.name} is packed already: pack the model that is not`);
  const packed = new Map(
    packedNames(model).map((name): [string, PackedWeight] => [
      name,
      pack(name, model.weights.get(name)!, packing),
    ]),
  );
  const weights = new Map([...model.weights].filter(([name]) => !packed.has(name)));
  return { ...model, weights, packed };
}

/** The weights that `packModel` packs. */
export function packedNames({ linears }: Pick<Model, "linears">): string[] {
  return linears.filter(({ perText }) => !perText).map(({ path }) => `${path}.weight`);
}
