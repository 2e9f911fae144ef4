/**
 * GGUF's Q8_0: 32 values and one f16 scale a block, value = scale · integer. A file's block has the scale, then 32 bytes.
 * The rounding is that of `quantize_row_q8_0_ref` in llama.cpp.
 */

import { fourWords, writableBlocksOf, writeScale } from "./gguf_blocks.ts";

/** Rounds to nearest, halves away from zero, as C's `roundf`. */
function rounded(value: number): number {
  return Math.sign(value) * Math.floor(Math.abs(value) + 0.5);
}

/** GGUF's Q8_0, aligned to words. */
export const q8_0 = writableBlocksOf({
  name: "q8_0",
  values: 32,
  header: 2,
  body: 32,
  scalesAt: [0],
  load: (name, words) =>
    `  let block = i / 8u * ${words}u;
  let quads = vec4u(${name}[block + 1u + i % 8u]) << vec4u(24u, 16u, 8u, 0u);
  return vec4f(bitcast<vec4i>(quads) >> vec4u(24u)) * unpack2x16float(${name}[block]).x;`,
  run: {
    quads: 4,
    hasStart: false,
    load: (name, words) =>
      `  let block = i / 2u * ${words}u;
  let at = block + 1u + i % 2u * 4u;
  return Run(${fourWords(name, "at")}, vec4u(), unpack2x16float(${name}[block]).x, 0.0);`,
    integers: "  return vec4f(unpack4xI8(run.words[p]));",
  },
  pair: {
    apart: 4,
    load: (name, words) =>
      `  let block = i / 4u * ${words}u;
  let at = block + 1u + i % 4u * 2u;
  let scale = unpack2x16float(${name}[block]).x;
  return Pair(vec4f(unpack4xI8(${name}[at])) * scale, vec4f(unpack4xI8(${name}[at + 1u])) * scale);`,
  },
  decode({ bytes, halves }, header, body, out, to) {
    const scale = halves[header / 2];
    for (let i = 0; i < 32; i++) out[to + i] = scale * (bytes[body + i] << 24 >> 24);
  },
  encode(values, blocks, header, body) {
    const scale = Math.fround(values.reduce((top, value) => Math.max(top, Math.abs(value)), 0) / 127);
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    writeScale(blocks, header, scale);
    values.forEach((value, i) => blocks.bytes[body + i] = rounded(Math.fround(value * inverse)));
  },
});
