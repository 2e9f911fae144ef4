/**
 * Small integers, two's complement, lowest bits of a word first, with one f32 scale for each 64 values in memory order:
 * value = scale · integer. Packing is symmetric and rounds to nearest.
 */

import { refusesUnless, type RunReading, type StoredAt, type WritableStorage } from "./storage.ts";

/** Number of values, contiguous in memory, that share a scale. */
export const groupSize = 64;

/** The largest magnitude of the group that starts at `from`. A plain loop: whole models pass through it. */
function largest(values: Float32Array, from: number): number {
  let top = 0;
  for (let i = from; i < from + groupSize; i++) top = Math.max(top, Math.abs(values[i]));
  return top;
}

const bindingsOf = (element: string) => ({ name, binding, scalesBinding }: StoredAt) =>
  `@group(0) @binding(${binding}) var<storage, read> ${name}: array<${element}>;
@group(0) @binding(${scalesBinding}) var<storage, read> scales: array<f32>;`;

/** The storage of integers of `bits`; `load` and `run` are the WGSL that reads four of them, and 16 bytes. */
function integers(
  name: string,
  bits: 4 | 8,
  load: (name: string) => string,
  run: Omit<RunReading, "bindings">,
): WritableStorage {
  const most = 2 ** (bits - 1) - 1;
  const mask = 2 ** bits - 1;
  const perWord = 32 / bits;
  const wordShift = Math.log2(perWord);
  return {
    name,
    bits,
    scaleEvery: groupSize,
    refusal: refusesUnless(groupSize),
    reading: {
      bindings: bindingsOf("u32"),
      load,
      run: { ...run, bindings: bindingsOf("vec4u") },
    },
    pack(values, { words, scales }) {
      words.fill(0);
      for (let group = 0; group < values.length / groupSize; group++) {
        const from = group * groupSize;
        scales![group] = largest(values, from) / most;
        const scale = scales![group] || 1;
        for (let i = from; i < from + groupSize; i++) {
          const whole = Math.round(values[i] / scale) & mask;
          words[i >> wordShift] |= whole << (i & perWord - 1) * bits;
        }
      }
    },
    unpack: ({ words, scales }) =>
      Float32Array.from({ length: words.length * perWord }, (_, i) => {
        const shifted = words[Math.floor(i / perWord)] << (32 - bits - i % perWord * bits);
        return (shifted >> (32 - bits)) * scales![Math.floor(i / groupSize)];
      }),
  };
}

/** 8 bits, −127 to 127. */
export const int8 = integers(
  "int8",
  8,
  (name) =>
    `  return vec4f(bitcast<vec4i>(vec4u(${name}[i]) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u)) * scales[i / 16u];`,
  {
    quads: 4,
    hasStart: false,
    load: (name) => `  return Run(${name}[i], vec4u(), scales[i / 4u], 0.0);`,
    integers: "  return vec4f(unpack4xI8(run.words[p]));",
  },
);

/** 4 bits, −7 to 7. */
export const int4 = integers(
  "int4",
  4,
  (name) =>
    `  let half = ${name}[i / 2u] >> (i % 2u * 16u);
  return vec4f(bitcast<vec4i>(vec4u(half) << vec4u(28u, 24u, 20u, 16u)) >> vec4u(28u)) * scales[i / 16u];`,
  {
    quads: 8,
    hasStart: false,
    load: (name) => `  return Run(${name}[i], vec4u(), scales[i / 2u] / 16.0, 0.0);`,
    // Every other integer of a word, times 16, is a byte without the bits below.
    integers: `  let even = unpack4xI8((run.words[p / 2u] << 4u) & 0xf0f0f0f0u);
  let odd = unpack4xI8(run.words[p / 2u] & 0xf0f0f0f0u);
  if (p % 2u == 0u) {
    return vec4f(vec4i(even.x, odd.x, even.y, odd.y));
  }
  return vec4f(vec4i(even.z, odd.z, even.w, odd.w));`,
  },
);
