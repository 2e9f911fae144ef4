/** Shapes of models for counting. */

import type { HeadLayout, LinearModule, Model } from "../models/model.ts";

/** The shape of a model, as far as counting needs it. */
export interface ModelShape {
  readonly name: string;
  /** The layers of its head, which no adapter can be attached to. */
  readonly head: HeadLayout;
  /** Every linear layer of the trunk that an adapter can attach to, without the language-model head. */
  readonly linears: readonly LinearModule[];
  /** Number of values of each weight, dense or packed, by name. */
  readonly sizes: ReadonlyMap<string, number>;
  /** Parameters of the whole model, including embeddings, norms and the language-model head. */
  readonly parameters: number;
}

/** The shape of a model, whether its weights were read or not. */
export function shapeOf({ name, head, linears, weights, packed = new Map() }: Model): ModelShape {
  const sizes = new Map(
    [...weights, ...packed].map(([name, { shape }]) => [
      name,
      shape.reduce((product, extent) => product * extent, 1),
    ]),
  );
  const parameters = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  return { name, head, linears, sizes, parameters };
}
