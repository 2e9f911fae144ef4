/**
 * Packed weights: f16, or int8 and int4 with one scale for each 64 values (symmetric, rounded to nearest).
 */

import { groupSize } from "../graph/ops/packed_linear.ts";
import { fingerprintOf, type WeightFingerprint } from "./fingerprint.ts";
import type { Encoder, Weight } from "./model.ts";

/**
 * Storage format of packed weights: `f16`, or `int8` and `int4` with one float32 scale for each 64 values.
 */
export type Packing = "f16" | "int8" | "int4";

/** A packed weight in the layout that the kernels read. */
export interface PackedWeight {
  /** Dimensions of the unpacked matrix, [outputs, inputs]. */
  readonly shape: readonly number[];
  /** The storage format. */
  readonly packing: Packing;
  /** The packed values, several per 32-bit word, lowest bits first. */
  readonly words: Uint32Array<ArrayBuffer>;
  /** One scale for each 64 values; undefined for f16. */
  readonly scales: Float32Array<ArrayBuffer> | undefined;
  /** Fingerprint of the original weight; undefined in a browser. */
  readonly origin: WeightFingerprint | undefined;
}

/** The largest magnitude of a quantised value. */
const most = { int8: 127, int4: 7 } as const;

/**
 * Packs `weight`.
 * @throws Error when a dimension is not a multiple of 4, the size is not a multiple of 64, or a value exceeds
 * f16's range.
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

/** The values of a packed weight. */
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
 * Returns a copy of `model` whose linear layers are packed, to save GPU memory. Layers that run once per text
 * (BERT's pooler) and all other weights stay as they are. Packed weights are frozen, and methods that change
 * them or compute with them directly (full fine-tuning, ReLoRA, DoRA, HiRA) throw an Error.
 * @throws Error when a layer's dimensions are not multiples of 4, its size is not a multiple of 64, or a
 * value exceeds f16's range.
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
