/** Initial values of adapter tensors. */

import { streamOf, uniform } from "../graph/random.ts";
import type { Weight } from "../models/model.ts";
import type { ParameterSpec } from "../models/parameter.ts";

/**
 * The initial values of a tensor. They depend on the tensor's name and the seed, not on the order of layers.
 * @throws Error when the values are computed from the layer's weight and `weight` is missing.
 */
export function initialise(
  name: string,
  { shape, init, shared }: ParameterSpec,
  seed: number,
  weight?: Weight,
): Weight {
  const size = shape.reduce((product, extent) => product * extent, 1);
  const stream = streamOf(shared ?? name);
  switch (init.kind) {
    case "constant":
      return { shape, data: new Float32Array(size).fill(init.value) };
    case "kaiming":
      return { shape, data: uniform(seed, stream, size, 1 / Math.sqrt(init.fan)) };
    case "corner": {
      const [rows, cols] = shape;
      const whole = uniform(seed, stream, rows * init.columns, init.bound);
      return {
        shape,
        data: Float32Array.from(
          { length: size },
          (_, i) => whole[Math.floor(i / cols) * init.columns + i % cols],
        ),
      };
    }
    case "given":
      return { shape, data: init.values() };
    case "fromWeight":
      if (!weight) throw new Error(`"${name}" starts from its layer's weight, and there is none`);
      return { shape, data: init.values(weight) };
  }
}
