/**
 * GGUF's Q4_K and Q5_K: 256 integers of 4 or 5 bits a block, in eight runs of 32, each with a scale and a minimum of 6 bits
 * that two f16 scale in turn:
 *
 *     value = (d · scale) · integer − dmin · minimum
 *
 * A block has d and dmin; 12 bytes with the scales and minima; in 5 bits 32 bytes, the l-th with the fifth bit of
 * integer l of run s as its bit s; and four times 32 bytes, the l-th of the g-th with the low four bits of integer l of run
 * 2g below those of run 2g + 1. Of the 12 bytes b, for s < 4:
 *
 *     scale s     = b[s] mod 64                              minimum s     = b[4 + s] mod 64
 *     scale 4 + s = b[8 + s] mod 16 + 16 ⌊b[s] / 64⌋         minimum 4 + s = ⌊b[8 + s] / 16⌋ + 16 ⌊b[4 + s] / 64⌋
 *
 * They are read from files only: llama.cpp searches for scales when it packs, and no formula gives its bits.
 */

import { type BlockFormat, blocksOf, fourWords } from "./gguf_blocks.ts";

/** Scale and minimum of run `s`, from the 12 bytes at `at`. */
function runOf(bytes: Uint8Array, at: number, s: number): [scale: number, minimum: number] {
  if (s < 4) return [bytes[at + s] & 63, bytes[at + 4 + s] & 63];
  const low = bytes[at + 4 + s];
  return [low & 15 | bytes[at + s - 4] >> 6 << 4, low >> 4 | bytes[at + s] >> 6 << 4];
}

/** Binds `run`, scale and minimum of run `s` of the block that begins with word `block`. */
const scalesOfRun = (name: string) =>
  `  // Bytes s mod 4, 4 + s mod 4 and 8 + s mod 4 of the twelve.
  let triple = (vec3u(${name}[block + 1u], ${name}[block + 2u], ${name}[block + 3u]) >> vec3u(s % 4u * 8u)) & vec3u(255u);
  let later = vec2u(triple.z & 15u, triple.z >> 4u) | ((triple.xy >> vec2u(6u)) << vec2u(4u));
  let run = vec2f(select(later, triple.xy & vec2u(63u), s < 4u)) * unpack2x16float(${name}[block]);`;

/** Binds `block`, the first word of the block; `s`, the run; and `run`, its scale and minimum. */
const loadRun = (name: string, words: number) =>
  `  let block = i / 64u * ${words}u;
  let s = i / 8u % 8u;
${scalesOfRun(name)}`;

/** A run of 32 by the eight words that it shares with its neighbour. */
function wholeRuns(bits: 4 | 5, lowAt: number): BlockFormat["run"] {
  const low = (name: string, at: string) =>
    `((${fourWords(name, at)} >> vec4u(s % 2u * 4u)) & vec4u(0x0f0f0f0fu))`;
  const fifth = (name: string, at: string) =>
    `(((${fourWords(name, at)} >> vec4u(s)) & vec4u(0x01010101u)) << vec4u(4u))`;
  const integers = (name: string, from: number) =>
    low(name, `at + ${from}u`) + (bits === 5 ? ` | ${fifth(name, `block + ${4 + from}u`)}` : "");
  return {
    quads: 8,
    hasStart: true,
    load: (name, words) =>
      `  let block = i / 8u * ${words}u;
  let s = i % 8u;
${scalesOfRun(name)}
  let at = block + ${lowAt / 4}u + s / 2u * 8u;
  return Run(${integers(name, 0)}, ${integers(name, 4)}, run.x, -run.y);`,
    integers: "  return vec4f(unpack4xU8(select(run.words, run.more, p >= 4u)[p % 4u]));",
  };
}

const loadIntegers = (name: string, lowAt: number, bits: 4 | 5) =>
  `  let nibbles = ${name}[block + ${lowAt / 4}u + s / 2u * 8u + i % 8u] >> (s % 2u * 4u);
  let low = (vec4u(nibbles) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(15u);` + (bits === 5
    ? `
  let fifth = (vec4u(${name}[block + 4u + i % 8u] >> s) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(1u);
  let integers = vec4f(low | (fifth << vec4u(4u)));`
    : `
  let integers = vec4f(low);`);

function kBlocks(name: string, bits: 4 | 5) {
  const lowAt = bits === 5 ? 48 : 16;
  return blocksOf({
    name,
    values: 256,
    header: 4,
    body: lowAt - 4 + 128,
    scalesAt: [0, 2],
    load: (name, words) =>
      `${loadRun(name, words)}
${loadIntegers(name, lowAt, bits)}
  return integers * run.x - run.y;`,
    run: wholeRuns(bits, lowAt),
    decode({ bytes, halves }, header, _body, out, to) {
      for (let s = 0; s < 8; s++) {
        const [scale, minimum] = runOf(bytes, header + 4, s);
        const [step, least] = [halves[header / 2] * scale, halves[header / 2 + 1] * minimum];
        const own = header + lowAt + (s >> 1) * 32;
        for (let l = 0; l < 32; l++) {
          const low = bytes[own + l] >> (s & 1) * 4 & 15;
          const integer = bits === 5 ? low | (bytes[header + 16 + l] >> s & 1) << 4 : low;
          out[to + s * 32 + l] = step * integer - least;
        }
      }
    },
  });
}

/** GGUF's Q4_K. */
export const q4_k = kBlocks("q4_k", 4);

/** GGUF's Q5_K. */
export const q5_k = kBlocks("q5_k", 5);
