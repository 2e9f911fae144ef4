/** Seeded noise for tests of statistics. */

import { streamOf, uniform } from "../../lib/graph/random.ts";

/** Standard normal values, the same from the same seed (Box and Muller 1958). */
export function normals(seed: number): () => number {
  const values = uniform(seed, streamOf("noise"), 1 << 14, 0.5);
  let next = 0;
  const share = () => Math.max(1e-7, 0.5 + values[next++]);
  return () => {
    if (next + 2 > values.length) throw new Error("more noise than was drawn");
    return Math.sqrt(-2 * Math.log(share())) * Math.cos(2 * Math.PI * share());
  };
}
