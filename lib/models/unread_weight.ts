/** Weights without values, for dry runs. */

import type { StoredValues } from "../graph/storages/storage.ts";
import type { Packing } from "../graph/storages/registry.ts";
import type { Model } from "./model.ts";
import { PackedInPieces } from "./packed_in_pieces.ts";
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
