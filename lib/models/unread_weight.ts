/** Weights without values, for dry runs. */

import type { StoredValues } from "../graph/storages/storage.ts";
import type { Packing, WritablePacking } from "../graph/storages/registry.ts";
import type { Model } from "./model.ts";
import { PackedInPieces } from "./packed_in_pieces.ts";
import { checkPackable, packedNames } from "./packing.ts";
import type { WeightInPieces } from "./stored_weight.ts";

/** A weight without values: `pieces` gives none to upload, and `data` is zeros. */
export function unread(shape: readonly number[]): WeightInPieces {
  const size = shape.reduce((product, extent) => product * extent, 1);
  return {
    shape,
    bytes: 4 * size,
    pieces: () => [],
    get data() {
      return new Float32Array(size);
    },
  };
}

/** A packed weight without values: `pieces` gives none to upload, and words and scales are zeros. */
export class UnreadPacked extends PackedInPieces {
  readonly origin = undefined;

  constructor(readonly shape: readonly number[], readonly packing: Packing) {
    super();
  }

  pieces(): Iterable<StoredValues> {
    return [];
  }
}

/** `model` without the values of its weights. Nothing is read from its files any more. */
export function withoutValues(model: Model): Model {
  const { weights, packed } = model;
  return {
    ...model,
    weights: new Map([...weights].map(([name, { shape }]) => [name, unread(shape)])),
    packed: packed &&
      new Map([...packed].map(([name, { shape, packing }]) => [name, new UnreadPacked(shape, packing)])),
  };
}

/**
 * `model` as `packModel` packs it, its packed weights without values. Throws an Error with what the packing wants of a layer's
 * shape, if it does not take it.
 */
export function packedWithoutValues(model: Model, packing: WritablePacking): Model {
  const packed = new Map(
    packedNames(model).map((name): [string, UnreadPacked] => {
      const { shape } = model.weights.get(name)!;
      checkPackable(name, shape, packing);
      return [name, new UnreadPacked(shape, packing)];
    }),
  );
  return { ...model, weights: new Map([...model.weights].filter(([name]) => !packed.has(name))), packed };
}
