/** Tensors that are trained beside a model: their shapes and how they begin. */

import type { Weight } from "./model.ts";

/** How the initial values of a trained tensor are made. */
export type Initializer =
  | { readonly kind: "constant"; readonly value: number }
  /** Kaiming uniform with a = √5, as in PyTorch's nn.Linear: U(−1/√fan, +1/√fan). */
  | { readonly kind: "kaiming"; readonly fan: number }
  /**
   * The top-left corner of a random matrix with `columns` columns, U(−bound, bound), that layers of different
   * sizes share.
   */
  | { readonly kind: "corner"; readonly columns: number; readonly bound: number }
  /** Given values, the same for all layers of one size. */
  | { readonly kind: "given"; readonly values: () => Float32Array<ArrayBuffer> }
  /** Computed from the layer's base weight. */
  | { readonly kind: "fromWeight"; readonly values: (weight: Weight) => Float32Array<ArrayBuffer> };

/** Initializer that sets every entry to 0. */
export const zeros: Initializer = { kind: "constant", value: 0 };

/** Shape and initialisation of a tensor that is trained beside a model: one of an adapter's, or a head's. */
export interface ParameterSpec {
  /** Dimensions, outermost first (row-major). */
  readonly shape: readonly number[];
  /** How its initial values are made. */
  readonly init: Initializer;
  /** True for a constant that is made once and never trained. */
  readonly frozen?: true;
  /** The tensor's name if all layers of one size share it; if absent, each layer has its own. */
  readonly shared?: string;
}
