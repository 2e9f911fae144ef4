/**
 * Rotary position embedding (RoPE, Su et al. 2021), in the half-split convention of Hugging Face's LLaMA: element i of a head is
 * paired with element i + headDim/2.
 */

import text from "../../../wgsl/rotary.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Op, sizeOf, type Tensor } from "../graph.ts";

/**
 * The table for `rotary`, [positions, headDim]. The row of position p holds the cosines and then the sines of
 * the angles p·θ^(−2i/headDim), i < headDim/2, computed in float64. θ is 10,000 in the paper and in LLaMA,
 * 500,000 in LLaMA 3.
 */
export function rotaryTable(
  positions: number,
  headDim: number,
  theta = 10_000,
): { shape: [number, number]; data: Float32Array<ArrayBuffer> } {
  const half = headDim / 2;
  const data = Float32Array.from({ length: positions * headDim }, (_, index) => {
    const [place, i] = [Math.floor(index / headDim), index % headDim];
    const angle = place * theta ** (-(i % half) / half);
    return i < half ? Math.cos(angle) : Math.sin(angle);
  });
  return { shape: [positions, headDim], data };
}

/**
 * Rotates the heads of x by their positions in the text. x and the result: [texts·length, heads·headDim];
 * `table`, a constant [positions ≥ length, headDim] (see `rotaryTable`), gives the angles and the size of a
 * head. Throws an Error naming both shapes when they do not fit.
 */
export function rotary(x: Tensor, table: Tensor, length: number): Tensor {
  return x.node.graph.apply(rotaryOp, [x, table], { length, backward: false })[0];
}

interface Attrs {
  readonly length: number;
  /** Rotates by the opposite angles. */
  readonly backward: boolean;
}

const workgroup = 64;

const rotaryOp: Op<Attrs> = {
  name: "rotary",
  infer([x, table], { length }) {
    const [positions, headDim] = table.shape;
    if (headDim % 2 !== 0 || x.shape[1] % headDim !== 0) {
      throw new Error(
        `rows of ${describe(x)} are not heads of ${headDim}, an even size, of ${describe(table)}`,
      );
    }
    if (x.shape[0] % length !== 0 || length > positions) {
      throw new Error(
        `${describe(x)} is not texts of ${length} tokens with a place each in ${describe(table)}`,
      );
    }
    return [{ shape: x.shape, dtype: "f32" }];
  },
  // The inverse of a rotation is its transpose.
  derivative: ({ inputs: [, table], attrs: { length, backward }, graph }, [gradient]) => [
    graph.apply(rotaryOp, [gradient!, table], { length, backward: !backward })[0],
    undefined,
  ],
  evaluate([x, table], { inputs: [{ shape }, { shape: [, headDim] }], attrs: { length, backward } }) {
    const half = headDim / 2;
    return [x.map((value, index) => {
      const [place, i] = [Math.floor(index / shape[1]) % length, index % headDim];
      const row = place * headDim + i % half;
      const sine = table[row + half] * (backward ? -1 : 1);
      const turned = i < half ? -x[index + half] : x[index - half];
      return value * table[row] + turned * sine;
    })];
  },
  dispatches({ inputs: [x, table], outputs: [out], attrs: { length, backward } }) {
    const headDim = table.shape[1];
    const WIDTH = headDim % 8 === 0 ? 4 : 1;
    const size = sizeOf(x) / 2 / WIDTH;
    return [{
      kernel: renderKernel({ name: "rotary", text }, {
        BACKWARD: Number(backward),
        WIDTH,
        WORKGROUP: workgroup,
      }),
      params: { size, length, heads: x.shape[1] / headDim, half: headDim / 2 / WIDTH },
      bindings: { x, table, out },
      grid: linearGrid(size, workgroup),
    }];
  },
};
