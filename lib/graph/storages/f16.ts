/** Half precision: two values a word, the first in the low half. */

import { type PackedStorage, refusesUnless } from "./storage.ts";

/** IEEE binary16. */
export const f16: PackedStorage = {
  name: "f16",
  bits: 16,
  refusal: refusesUnless(4),
  reading: {
    bindings: ({ name, binding }) =>
      `@group(0) @binding(${binding}) var<storage, read> ${name}: array<vec2u>;`,
    load: (name) => `  return vec4f(unpack2x16float(${name}[i].x), unpack2x16float(${name}[i].y));`,
  },
  alternative: {
    needs: "f16",
    bindings: ({ name, binding }) =>
      `@group(0) @binding(${binding}) var<storage, read> ${name}: array<vec4<f16>>;`,
    load: (name) => `  return vec4f(${name}[i]);`,
  },
  pack(values) {
    const halves = Float16Array.from(values);
    if (!halves.every(Number.isFinite)) throw new Error("holds values beyond f16's 65504: pack it as int8");
    return { words: new Uint32Array(halves.buffer) };
  },
  unpack: ({ words }) => new Float32Array(new Float16Array(words.buffer)),
};
