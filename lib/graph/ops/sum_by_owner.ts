/** Sums of values that belong together, such as those of an example's tokens. */

import text from "../../../wgsl/sum_by_owner.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Op, sizeOf, type Tensor } from "../graph.ts";

interface Attrs {
  readonly count: number;
}

/** out[o] = Σ of the values with owner o: values [R], owners [R] u32 → [count]. An owner from `count` on is none. No gradient. */
export function sumByOwner(values: Tensor, owners: Tensor, count: number): Tensor {
  return values.node.graph.apply(sumByOwnerOp, [values, owners], { count })[0];
}

const workgroup = 16;

const sumByOwnerOp: Op<Attrs> = {
  name: "sumByOwner",
  wholeInputs: [1],
  infer([values, owners], { count }) {
    if (sizeOf(owners) !== sizeOf(values)) {
      throw new Error(`owners ${describe(owners)} are not one for each of ${describe(values)}`);
    }
    return [{ shape: [count], dtype: "f32" }];
  },
  evaluate([values, owners], { attrs: { count } }) {
    const sums = new Float64Array(count);
    values.forEach((value, i) => {
      if (owners[i] < count) sums[owners[i]] += value;
    });
    return [sums];
  },
  dispatches({ inputs: [values, owners], outputs: [out] }) {
    return [{
      kernel: renderKernel({ name: "sum_by_owner", text }, { WORKGROUP: workgroup }),
      params: { count: sizeOf(out), size: sizeOf(values) },
      bindings: { values, owners, out },
      grid: linearGrid(sizeOf(out), workgroup),
    }];
  },
};
