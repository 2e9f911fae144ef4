/**
 * GGUF's Q8_0: 32 values of a row and one f16 scale a block, value = scale · integer. A file's block has 34 bytes (scale,
 * then the integers in order); here it has nine words, the scale in the low half of the first. The rounding is that of
 * `quantize_row_q8_0_ref` in llama.cpp.
 */

import type { PackedStorage } from "./storage.ts";

/** Values in a block. */
const blockSize = 32;

/** Words of a block. */
const blockWords = 9;

/** Bytes of a block in a GGUF file. */
const fileBytes = 34;

/** Blocks as they lie in a GGUF file, in the layout that the kernels read: each begins at a whole word. */
export function alignedBlocks(file: Uint8Array): Uint32Array<ArrayBuffer> {
  const count = file.length / fileBytes;
  const bytes = new Uint8Array(count * blockWords * 4);
  for (let block = 0; block < count; block++) {
    const own = file.subarray(block * fileBytes, (block + 1) * fileBytes);
    bytes.set(own.subarray(0, 2), block * blockWords * 4);
    bytes.set(own.subarray(2), block * blockWords * 4 + 4);
  }
  return new Uint32Array(bytes.buffer);
}

/** Rounds to nearest, halves away from zero, as C's `roundf`. */
function rounded(value: number): number {
  return Math.sign(value) * Math.floor(Math.abs(value) + 0.5);
}

/** GGUF's Q8_0, aligned to words. */
export const q8_0: PackedStorage = {
  name: "q8_0",
  bits: blockWords * 32 / blockSize,
  refusal([, columns, ...more]) {
    return more.length === 0 && columns % blockSize === 0
      ? undefined
      : `wants rows of ${blockSize} values at a time`;
  },
  reading: {
    bindings: ({ name, binding }) => `@group(0) @binding(${binding}) var<storage, read> ${name}: array<u32>;`,
    load: (name) =>
      `  let block = i / 8u * 9u;
  let quads = vec4u(${name}[block + 1u + i % 8u]) << vec4u(24u, 16u, 8u, 0u);
  return vec4f(bitcast<vec4i>(quads) >> vec4u(24u)) * unpack2x16float(${name}[block]).x;`,
  },
  pack(values) {
    const words = new Uint32Array(values.length / blockSize * blockWords);
    const halves = new Float16Array(words.buffer);
    const bytes = new Int8Array(words.buffer);
    for (let block = 0; block < values.length / blockSize; block++) {
      const own = values.subarray(block * blockSize, (block + 1) * blockSize);
      const scale = Math.fround(own.reduce((top, value) => Math.max(top, Math.abs(value)), 0) / 127);
      const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
      halves[block * blockWords * 2] = scale;
      if (!Number.isFinite(halves[block * blockWords * 2])) {
        throw new Error("holds values whose scale is beyond f16's 65504: pack it as int8");
      }
      bytes.set(own.map((value) => rounded(Math.fround(value * inverse))), block * blockWords * 4 + 4);
    }
    return { words };
  },
  unpack({ words }) {
    const halves = new Float16Array(words.buffer, words.byteOffset, words.length * 2);
    const bytes = new Int8Array(words.buffer, words.byteOffset, words.length * 4);
    return Float32Array.from({ length: words.length / blockWords * blockSize }, (_, i) => {
      const block = Math.floor(i / blockSize) * blockWords;
      return halves[block * 2] * bytes[(block + 1) * 4 + i % blockSize];
    });
  },
};
