/** Dropout. The backward pass draws the mask again from (seed, step, stream, index), so no mask is stored. */

import text from "../../../wgsl/dropout.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Op, sizeOf, type Tensor } from "../graph.ts";
import { randomBits } from "../random.ts";

interface Attrs {
  readonly rate: number;
  readonly stream: number;
}

/** x ⊙ mask / (1 − rate). `seedAndStep`: [2] u32, an input that changes every step. */
export function dropout(x: Tensor, seedAndStep: Tensor, rate: number): Tensor {
  if (!(rate >= 0 && rate < 1)) throw new Error(`dropout rate ${rate} is not in [0, 1)`);
  const graph = x.node.graph;
  return graph.apply(dropoutOp, [x, seedAndStep], { rate, stream: graph.randomStream() })[0];
}

/** Elements whose random word is below this are dropped. */
function threshold(rate: number): number {
  return Math.floor(rate * 2 ** 32);
}

const workgroup = 64;

const dropoutOp: Op<Attrs> = {
  name: "dropout",
  wholeInputs: [1],
  infer([x, seedAndStep]) {
    if (sizeOf(seedAndStep) !== 2) throw new Error(`seed and step are ${describe(seedAndStep)}, not [2] u32`);
    return [{ shape: x.shape, dtype: "f32" }];
  },
  derivative: ({ inputs: [, seedAndStep], attrs, graph }, [gradient]) => [
    graph.apply(dropoutOp, [gradient!, seedAndStep], attrs)[0],
    undefined,
  ],
  evaluate([x, [seed, step]], { attrs }) {
    const kept = (i: number) => randomBits(seed, step, attrs.stream, i) >= threshold(attrs.rate);
    return [x.map((value, i) => kept(i) ? value / (1 - attrs.rate) : 0)];
  },
  dispatches({ inputs: [x, seed_and_step], outputs: [out], attrs }, _, { software }) {
    const WIDTH = !software && sizeOf(x) % 4 === 0 ? 4 : 1;
    return [{
      kernel: renderKernel({ name: "dropout", text }, { WIDTH, WORKGROUP: workgroup }),
      params: {
        size: sizeOf(x),
        stream: attrs.stream,
        threshold: threshold(attrs.rate),
        keep_scale: 1 / (1 - attrs.rate),
      },
      bindings: { x, seed_and_step, out },
      grid: linearGrid(sizeOf(x) / WIDTH, workgroup),
    }];
  },
};
