/**
 * GGUF's Q4_0, Q4_1, Q5_0 and Q5_1: 32 integers of 4 or 5 bits a block, not negative, with an f16 scale, and in the types
 * that end in 1 an f16 minimum:
 *
 *     _0: value = scale · (integer − 2^(bits − 1))        _1: value = scale · integer + minimum
 *
 * A file's block has scale and minimum; in 5 bits a u32 with the fifth bit of integer j as its bit j; and 16 bytes, the
 * j-th with the low four bits of integer j below those of integer j + 16. The rounding is that of `quantize_row_q4_0_ref`
 * and its like in llama.cpp.
 */

import {
  type BlockBytes,
  fourWords,
  writableBlocksOf,
  type WritableFormat,
  writeScale,
} from "./gguf_blocks.ts";

/** What integers are counted from: value ≈ start + scale · (integer − zero). */
interface Grid {
  readonly scale: number;
  readonly start: number;
  readonly zero: number;
}

/** The grid on which the value of largest magnitude, the first of several, has the integer 0. */
function gridAround(values: Float32Array, zero: number): Grid {
  const extreme = values.reduce((top, value) => Math.abs(value) > Math.abs(top) ? value : top, 0);
  return { scale: Math.fround(extreme / -zero), start: 0, zero };
}

/** The grid from the smallest value to the largest. */
function gridBetween(values: Float32Array, most: number): Grid {
  const [least, largest] = [Math.min(...values), Math.max(...values)];
  return { scale: Math.fround(Math.fround(largest - least) / most), start: least, zero: 0 };
}

/** The integers of `values`, each operation rounded to float32. */
function integersOf(values: Float32Array, { scale, start, zero }: Grid, most: number): Uint8Array {
  const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
  return Uint8Array.from(values, (value) => {
    const steps = Math.fround(Math.fround(value - start) * inverse);
    return Math.min(most, Math.trunc(Math.fround(steps + (zero + 0.5))));
  });
}

const loadLow = (name: string, words: number) =>
  `  let block = i / 8u * ${words}u;
  let nibbles = ${name}[block + ${words - 4}u + i % 4u] >> (i / 4u % 2u * 4u);
  let low = (vec4u(nibbles) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(15u);`;

const loadFifth = (name: string) =>
  `  let fifth = (vec4u(${name}[block + 1u] >> (i % 8u * 4u)) >> vec4u(0u, 1u, 2u, 3u)) & vec4u(1u);
  let integers = vec4f(low | (fifth << vec4u(4u)));`;

/** A word has the low four bits of two quads, 16 columns apart. */
function loadPair(name: string, words: number, bits: 4 | 5, value: string): string {
  const fifth = (shift: string) =>
    `((vec4u(${name}[block + 1u] >> (${shift})) >> vec4u(0u, 1u, 2u, 3u)) & vec4u(1u)) << vec4u(4u)`;
  const quad = (low: string, shift: string) =>
    `vec4f(unpack4xU8(${low} & 0x0f0f0f0fu)${bits === 5 ? ` | (${fifth(shift)})` : ""})`;
  return `  let block = i / 4u * ${words}u;
  let word = ${name}[block + ${words - 4}u + i % 4u];
  let scales = unpack2x16float(${name}[block]);
  let low = ${quad("word", "i % 4u * 4u")};
  let high = ${quad("(word >> 4u)", "i % 4u * 4u + 16u")};
  return Pair(${value.replaceAll("integers", "low")}, ${value.replaceAll("integers", "high")});`;
}

/**
 * Q4_0: an integer minus 8 is the integer with its highest bit turned, in two's complement, and times 16 a byte without
 * the bits below.
 */
const signedRun: WritableFormat["run"] = {
  quads: 8,
  hasStart: false,
  load: (name, words) =>
    `  let block = i * ${words}u;
  let words = ${fourWords(name, "block + 1u")} ^ vec4u(0x88888888u);
  return Run(words, vec4u(), unpack2x16float(${name}[block]).x / 16.0, 0.0);`,
  integers: `  let word = run.words[p % 4u];
  return vec4f(unpack4xI8(select(word << 4u, word, p >= 4u) & 0xf0f0f0f0u));`,
};

/** The other types: `more` has the fifth bits. */
function unsignedRun(bits: 4 | 5, hasMinimum: boolean): WritableFormat["run"] {
  const start = hasMinimum ? "scales.y" : `-${2 ** (bits - 1)}.0 * scales.x`;
  return {
    quads: 8,
    hasStart: true,
    load: (name, words) =>
      `  let block = i * ${words}u;
  let scales = unpack2x16float(${name}[block]);
  let fifth = ${bits === 5 ? `vec4u(${name}[block + 1u])` : "vec4u()"};
  return Run(${fourWords(name, `block + ${words - 4}u`)}, fifth, scales.x, ${start});`,
    integers: `  let word = run.words[p % 4u];
  let low = select(word, word >> 4u, p >= 4u) & 0x0f0f0f0fu;
` + (bits === 5
        ? `  let fifth = run.more.x >> (4u * p);
  let high = ((fifth & 1u) << 4u) | ((fifth & 2u) << 11u) | ((fifth & 4u) << 18u) | ((fifth & 8u) << 25u);
  return vec4f(unpack4xU8(low | high));`
        : "  return vec4f(unpack4xU8(low));"),
  };
}

function nibbleBlocks(name: string, bits: 4 | 5, hasMinimum: boolean) {
  const [most, zero] = [2 ** bits - 1, 2 ** (bits - 1)];
  const lowAt = bits === 5 ? 4 : 0;
  const value = hasMinimum ? "integers * scales.x + scales.y" : `(integers - ${zero}.0) * scales.x`;
  const fifthOf = ({ bytes }: BlockBytes, body: number, j: number) =>
    bits === 5 ? (bytes[body + (j >> 3)] >> (j & 7) & 1) << 4 : 0;
  return writableBlocksOf({
    name,
    values: 32,
    header: hasMinimum ? 4 : 2,
    body: lowAt + 16,
    scalesAt: hasMinimum ? [0, 2] : [0],
    load: (name, words) =>
      `${loadLow(name, words)}
${bits === 5 ? loadFifth(name) : "  let integers = vec4f(low);"}
  let scales = unpack2x16float(${name}[block]);
  return ${value};`,
    pair: { apart: 16, load: (name, words) => loadPair(name, words, bits, value) },
    run: bits === 4 && !hasMinimum ? signedRun : unsignedRun(bits, hasMinimum),
    decode(blocks, header, body, out, to) {
      const scale = blocks.halves[header / 2];
      const minimum = blocks.halves[header / 2 + 1];
      for (let j = 0; j < 32; j++) {
        const low = blocks.bytes[body + lowAt + (j & 15)] >> (j & 16) / 4 & 15;
        const integer = low | fifthOf(blocks, body, j);
        out[to + j] = hasMinimum ? scale * integer + minimum : scale * (integer - zero);
      }
    },
    encode(values, blocks, header, body) {
      const grid = hasMinimum ? gridBetween(values, most) : gridAround(values, zero);
      writeScale(blocks, header, grid.scale);
      if (hasMinimum) writeScale(blocks, header + 2, grid.start);
      integersOf(values, grid, most).forEach((integer, j) => {
        blocks.bytes[body + lowAt + (j & 15)] |= (integer & 15) << (j & 16) / 4;
        if (bits === 5) blocks.bytes[body + (j >> 3)] |= integer >> 4 << (j & 7);
      });
    },
  });
}

/** GGUF's Q4_0, aligned to words. */
export const q4_0 = nibbleBlocks("q4_0", 4, false);

/** GGUF's Q4_1. */
export const q4_1 = nibbleBlocks("q4_1", 4, true);

/** GGUF's Q5_0, aligned to words. */
export const q5_0 = nibbleBlocks("q5_0", 5, false);

/** GGUF's Q5_1. */
export const q5_1 = nibbleBlocks("q5_1", 5, true);
