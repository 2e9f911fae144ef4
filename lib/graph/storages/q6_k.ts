/**
 * GGUF's Q6_K: 256 integers of 6 bits a block, in sixteen runs of 16, each with a scale of 8 bits that an f16 scales in
 * turn: value = (d · scale) · (integer − 32).
 *
 * A block has 128 bytes with the low four bits, 64 bytes with the high two, 16 signed scales, and d. Each half of the
 * integers has half of the bytes. Within a half, integer 32 q + l has its low bits in byte l + 32 (q mod 2), the upper
 * half of that byte if q ≥ 2, and its high bits in byte l, at bit 2 q.
 *
 * It is read from files only (see `k_blocks.ts`).
 */

import { blocksOf, fourWords } from "./gguf_blocks.ts";

const [highAt, scalesAt, dAt] = [128, 192, 208];

/** GGUF's Q6_K, aligned to words. */
export const q6_k = blocksOf({
  name: "q6_k",
  values: 256,
  header: 0,
  body: 210,
  scalesAt: [dAt],
  load: (name, words) =>
    `  let block = i / 64u * ${words}u;
  let half = i / 32u % 2u;
  let q = i / 8u % 4u;
  let nibbles = ${name}[block + half * 16u + q % 2u * 8u + i % 8u] >> (q / 2u * 4u);
  let pairs = ${name}[block + ${highAt / 4}u + half * 8u + i % 8u] >> (q * 2u);
  let low = (vec4u(nibbles) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(15u);
  let high = (vec4u(pairs) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(3u);
  let scales = ${name}[block + ${scalesAt / 4}u + i / 16u % 4u];
  let scale = f32(bitcast<i32>(scales << (24u - i / 4u % 4u * 8u)) >> 24u);
  return (vec4f(low | (high << vec4u(4u))) - 32.0) * (scale * unpack2x16float(${name}[block + ${
      dAt / 4
    }u]).x);`,
  run: {
    quads: 4,
    hasStart: true,
    load: (name, words) =>
      `  let block = i / 16u * ${words}u;
  let r = i % 16u;
  let q = r / 2u % 4u;
  let low = block + r / 8u * 16u + q % 2u * 8u + r % 2u * 4u;
  let high = block + ${highAt / 4}u + r / 8u * 8u + r % 2u * 4u;
  let nibbles = (${fourWords(name, "low")} >> vec4u(q / 2u * 4u)) & vec4u(0x0f0f0f0fu);
  let pairs = (${fourWords(name, "high")} >> vec4u(q * 2u)) & vec4u(0x03030303u);
  let scales = ${name}[block + ${scalesAt / 4}u + r / 4u];
  let whole = f32(bitcast<i32>(scales << (24u - r % 4u * 8u)) >> 24u);
  let scale = whole * unpack2x16float(${name}[block + ${dAt / 4}u]).x;
  return Run(nibbles | (pairs << vec4u(4u)), vec4u(), scale, -32.0 * scale);`,
    integers: "  return vec4f(unpack4xU8(run.words[p]));",
  },
  decode({ bytes, halves }, _header, body, out, to) {
    const d = halves[(body + dAt) / 2];
    for (let j = 0; j < 256; j++) {
      const [half, q, l] = [j >> 7, j >> 5 & 3, j & 31];
      const low = bytes[body + half * 64 + (q & 1) * 32 + l] >> (q >> 1) * 4 & 15;
      const high = bytes[body + highAt + half * 32 + l] >> q * 2 & 3;
      const scale = bytes[body + scalesAt + (j >> 4)] << 24 >> 24;
      out[to + j] = d * scale * ((low | high << 4) - 32);
    }
  },
});
