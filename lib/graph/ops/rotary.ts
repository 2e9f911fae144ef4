/**
 * Rotary position embedding (RoPE, Su et al. 2021), in the half-split convention of Hugging Face's LLaMA: element i of a head is
 * paired with element i + headDim/2.
 */

import text from "../../../wgsl/rotary.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Op, sizeOf, type Spec, type Tensor } from "../graph.ts";
import { checkMatrices } from "./shapes.ts";

/** θ^(−2i/headDim) for i < headDim/2. θ is 10,000 in the paper and in LLaMA, 500,000 in LLaMA 3. */
export function rotaryFrequencies(headDim: number, theta = 10_000): number[] {
  return Array.from({ length: headDim / 2 }, (_, i) => theta ** (-2 * i / headDim));
}

/**
 * The table for `rotary`, [positions, 2·frequencies]. The row of position p holds the cosines and then the sines of the angles
 * p·f for each frequency f, computed in float64.
 */
export function rotaryTable(
  positions: number,
  frequencies: readonly number[],
): { shape: [number, number]; data: Float32Array<ArrayBuffer> } {
  const half = frequencies.length;
  const data = Float32Array.from({ length: positions * 2 * half }, (_, index) => {
    const [place, i] = [Math.floor(index / (2 * half)), index % (2 * half)];
    const angle = place * frequencies[i % half];
    return i < half ? Math.cos(angle) : Math.sin(angle);
  });
  return { shape: [positions, 2 * half], data };
}

/**
 * Rotates the heads of x by their tokens' positions. x and the result: [tokens, heads·headDim]; `places`, u32, one for each
 * token, are rows of `table`, a constant [positions, headDim] (see `rotaryTable`), which gives the angles and the size of a
 * head. Throws an Error naming the shapes when they do not fit.
 */
export function rotary(x: Tensor, table: Tensor, places: Tensor): Tensor {
  return x.node.graph.apply(rotaryOp, [x, table, places], { backward: false })[0];
}

/** What heads are rotated by where another op does so on its way. */
export interface Rotation {
  /** A constant [positions, headDim] (see `rotaryTable`). */
  readonly table: Tensor;
  /** The row of each token, u32. */
  readonly places: Tensor;
}

/** Whether rows of whole heads can be rotated by vec4 on the way: heads of a multiple of 8 values, and a place for each row. */
export function isRotatable(rows: Spec, { table, places }: Record<keyof Rotation, Spec>): boolean {
  const headDim = table.shape[1];
  return headDim % 8 === 0 && rows.shape[1] % headDim === 0 && sizeOf(places) === rows.shape[0];
}

/** The float64 meaning, for rows of `width` values in heads of `headDim`. */
export function rotatedBy(
  table: Float64Array,
  places: Float64Array,
  headDim: number,
  width: number,
  x: Float64Array,
  sign: 1 | -1 = 1,
): Float64Array {
  const half = headDim / 2;
  return x.map((value, index) => {
    const [place, i] = [places[Math.floor(index / width)], index % headDim];
    const row = place * headDim + i % half;
    const turned = i < half ? -x[index + half] : x[index - half];
    return value * table[row] + turned * table[row + half] * sign;
  });
}

interface Attrs {
  /** Rotates by the opposite angles. */
  readonly backward: boolean;
}

const workgroup = 64;

const rotaryOp: Op<Attrs> = {
  name: "rotary",
  wholeInputs: [2],
  infer([x, table, places]) {
    checkMatrices(x, table);
    const headDim = table.shape[1];
    if (headDim % 2 !== 0 || x.shape[1] % headDim !== 0) {
      throw new Error(
        `rows of ${describe(x)} are not heads of ${headDim}, an even size, of ${describe(table)}`,
      );
    }
    if (sizeOf(places) !== x.shape[0]) {
      throw new Error(`places ${describe(places)} are not one for each row of ${describe(x)}`);
    }
    return [{ shape: x.shape, dtype: "f32" }];
  },
  // The inverse of a rotation is its transpose.
  derivative: ({ inputs: [, table, places], attrs: { backward }, graph }, [gradient]) => [
    graph.apply(rotaryOp, [gradient!, table, places], { backward: !backward })[0],
    undefined,
    undefined,
  ],
  evaluate: ([x, table, places], { inputs: [{ shape }, { shape: [, headDim] }], attrs: { backward } }) => [
    rotatedBy(table, places, headDim, shape[1], x, backward ? -1 : 1),
  ],
  dispatches({ inputs: [x, table, places], outputs: [out], attrs: { backward } }) {
    const headDim = table.shape[1];
    const WIDTH = headDim % 8 === 0 ? 4 : 1;
    const size = sizeOf(x) / 2 / WIDTH;
    return [{
      kernel: renderKernel({ name: "rotary", text }, {
        BACKWARD: Number(backward),
        WIDTH,
        WORKGROUP: workgroup,
      }),
      params: { size, heads: x.shape[1] / headDim, half: headDim / 2 / WIDTH },
      bindings: { x, table, places, out },
      grid: linearGrid(size, workgroup),
    }];
  },
};
