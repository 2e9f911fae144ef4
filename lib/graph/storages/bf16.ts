/** BF16, the upper halves of float32. */

import { twoBytes } from "./two_bytes.ts";

/** Rounds float32 to BF16, to nearest, ties to even, and writes it to `out`, by default to a new array. */
export function toBf16(
  { buffer, byteOffset, length }: Float32Array<ArrayBuffer>,
  out: Uint16Array<ArrayBuffer> = new Uint16Array(length),
): Uint16Array<ArrayBuffer> {
  const words = new Uint32Array(buffer, byteOffset, length);
  // Adds half a unit, minus one if the unit's bit is even.
  for (let i = 0; i < length; i++) out[i] = (words[i] + 0x7fff + (words[i] >>> 16 & 1)) >>> 16;
  return out;
}

/** Google's bfloat16. */
export const bf16 = twoBytes({
  name: "bf16",
  largest: "3.3895e38",
  exponent: 0x7f80,
  load: (name) =>
    `  return bitcast<vec4f>((${name}[i].xxyy << vec4u(16u, 0u, 16u, 0u)) & vec4u(0xffff0000u));`,
  encode: toBf16,
  decode(halves, out) {
    const words = new Uint32Array(out.buffer, out.byteOffset, halves.length);
    words.set(halves);
    for (let i = 0; i < words.length; i++) words[i] <<= 16;
    return out;
  },
});
