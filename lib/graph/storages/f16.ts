/** Half precision. */

import { twoBytes } from "./two_bytes.ts";

/** IEEE binary16. */
export const f16 = twoBytes({
  name: "f16",
  largest: "65504",
  exponent: 0x7c00,
  load: (name) => `  return vec4f(unpack2x16float(${name}[i].x), unpack2x16float(${name}[i].y));`,
  alternative: {
    needs: "f16",
    bindings: ({ name, binding }) =>
      `@group(0) @binding(${binding}) var<storage, read> ${name}: array<vec4<f16>>;`,
    load: (name) => `  return vec4f(${name}[i]);`,
  },
  encode: (values, { buffer, byteOffset, length }) =>
    new Float16Array(buffer, byteOffset, length).set(values),
  decode({ buffer, byteOffset, length }, out) {
    out.set(new Float16Array(buffer, byteOffset, length));
    return out;
  },
});
