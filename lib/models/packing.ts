/** Weights in fewer bits: f16, or int8 and int4 with one scale for each 64 values (symmetric, to nearest). */

import { groupSize } from "../graph/ops/packed_linear.ts";
import { fingerprintOf, type WeightFingerprint } from "./fingerprint.ts";
import type { Encoder, Weight } from "./model.ts";

/** How a packed weight is stored. */
export type Packing = "f16" | "int8" | "int4";

/** A packed weight: words as the kernels read them, and the scales of int8 and int4. */
export interface PackedWeight {
  /** Extents of the matrix it stands for. */
  readonly shape: readonly number[];
  /** How it is stored. */
  readonly packing: Packing;
  /** The values, several to a word, lowest bits first. */
  readonly words: Uint32Array<ArrayBuffer>;
  /** One for each 64 values; none with f16. */
  readonly scales: Float32Array<ArrayBuffer> | undefined;
  /** What tells the weight that it was packed from; none in a browser. */
  readonly origin: WeightFingerprint | undefined;
}

/** The largest whole number that is used of either sign: 127, 7. */
const most = { int8: 127, int4: 7 } as const;

/**
 * `weight` packed.
 * @throws Error when its extents are not multiples of 4, its size is none of 64, or a value does not fit f16.
 */
export function pack(name: string, weight: Weight, packing: Packing): PackedWeight {
  const { shape, data } = weight;
  if (shape.length !== 2 || shape.some((extent) => extent % 4 !== 0) || data.length % groupSize !== 0) {
    throw new Error(
      `"${name}" is [${shape}]: packing wants a matrix of multiples of 4, ${groupSize} values at a time`,
    );
  }
  if (packing === "f16") {
    const halves = Float16Array.from(data);
    if (!halves.every(Number.isFinite)) {
      throw new Error(`"${name}" holds values beyond f16's 65504: pack it as int8`);
    }
    const words = new Uint32Array(halves.buffer);
    return { shape, packing, words, scales: undefined, origin: fingerprintOf(weight) };
  }
  const scales = Float32Array.from(
    { length: data.length / groupSize },
    (_, group) =>
      data.subarray(group * groupSize, (group + 1) * groupSize).reduce(
        (top, v) => Math.max(top, Math.abs(v)),
        0,
      ) /
      most[packing],
  );
  const whole = (i: number) => Math.round(data[i] / (scales[Math.floor(i / groupSize)] || 1));
  const bits = packing === "int8" ? 8 : 4;
  const perWord = 32 / bits;
  const words = new Uint32Array(data.length / perWord);
  for (let i = 0; i < data.length; i++) {
    words[Math.floor(i / perWord)] |= (whole(i) & (2 ** bits - 1)) << (i % perWord * bits);
  }
  return { shape, packing, words, scales, origin: fingerprintOf(weight) };
}

/** The values that a packed weight stands for. */
export function unpack({ shape, packing, words, scales }: PackedWeight): Weight {
  if (packing === "f16") return { shape, data: new Float32Array(new Float16Array(words.buffer)) };
  const bits = packing === "int8" ? 8 : 4;
  const perWord = 32 / bits;
  const data = Float32Array.from({ length: words.length * perWord }, (_, i) => {
    const shifted = words[Math.floor(i / perWord)] << (32 - bits - i % perWord * bits);
    return (shifted >> (32 - bits)) * scales![Math.floor(i / groupSize)];
  });
  return { shape, data };
}

/**
 * A model whose linear layers' weights are packed, but for those that run once a text; everything else is as it was.
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
export function packModel(model: Encoder, packing: Packing): Encoder {
  const packed = new Map(
    model.linears.filter(({ perText }) => !perText).map(({ path }): [string, PackedWeight] => {
      const name = `${path}.weight`;
      return [name, pack(name, model.weights.get(name)!, packing)];
    }),
  );
  const weights = new Map([...model.weights].filter(([name]) => !packed.has(name)));
  return { ...model, weights, packed };
}
