/** Counter-based random numbers, with the same bits as `wgsl/include/random.wgsl`. */

function mixBits(word: number): number {
  let x = word >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d) >>> 0;
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b) >>> 0;
  return (x ^ (x >>> 16)) >>> 0;
}

/** A 32-bit word that depends only on the four counters. */
export function randomBits(seed: number, step: number, stream: number, index: number): number {
  return mixBits((mixBits((mixBits((mixBits(seed) + step) >>> 0) + stream) >>> 0) + index) >>> 0);
}

/** `size` floats, uniform in (−bound, bound), from `seed` and a `stream` number. */
export function uniform(
  seed: number,
  stream: number,
  size: number,
  bound: number,
): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    { length: size },
    (_, i) => ((randomBits(seed, 0, stream, i) + 0.5) / 2 ** 31 - 1) * bound,
  );
}

/**
 * A 32-bit hash of a name (FNV-1a), so that a parameter's stream depends on its name and not on its position.
 */
export function streamOf(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** A permutation of 0 … size − 1 (Fisher–Yates) from `seed` and `stream`. */
export function shuffled(seed: number, stream: number, size: number): number[] {
  const order = Array.from({ length: size }, (_, i) => i);
  for (let i = size - 1; i > 0; i--) {
    const j = randomBits(seed, 1, stream, i) % (i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
