/** Checks of shapes that the ops share. */

import { describe, type Spec } from "../graph.ts";

/** Throws an Error naming the first of `specs` that is no matrix. */
export function checkMatrices(...specs: readonly Spec[]): void {
  const other = specs.find(({ shape }) => shape.length !== 2);
  if (other) throw new Error(`wants a matrix, not ${describe(other)}: give it as rows (reshape)`);
}

/** Throws an Error naming the first of `specs` that is not f32, for ops whose other inputs may have another storage. */
export function checkFloats(...specs: readonly Spec[]): void {
  const other = specs.find(({ dtype }) => dtype !== "f32");
  if (other) throw new Error(`reads ${describe(other)} as f32`);
}
