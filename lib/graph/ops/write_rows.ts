/** New rows into a cache of rows, such as the keys of earlier tokens. */

import text from "../../../wgsl/write_rows.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Op, sizeOf, type Spec, type Tensor } from "../graph.ts";

/**
 * The cache with rows of each text put in from place `at` on: cache [texts·capacity, n], rows [texts·length, n], at [texts] u32 →
 * like cache. Rows beyond the capacity are left out. As the update of a state it is written in place. No gradient.
 */
export function writeRows(cache: Tensor, rows: Tensor, at: Tensor): Tensor {
  return cache.node.graph.apply(writeRowsOp, [cache, rows, at], undefined)[0];
}

const workgroup = 64;

function extents([cache, rows, at]: readonly Spec[]) {
  const texts = sizeOf(at);
  return { width: rows.shape[1], length: rows.shape[0] / texts, capacity: cache.shape[0] / texts };
}

const writeRowsOp: Op<undefined> = {
  name: "writeRows",
  wholeInputs: [2],
  infer(inputs) {
    const [cache, rows, at] = inputs;
    const { length, capacity } = extents(inputs);
    const fits = cache.shape[1] === rows.shape[1] && Number.isInteger(length) && Number.isInteger(capacity);
    if (!fits) {
      throw new Error(`rows ${describe(rows)} at ${describe(at)} do not fit the cache ${describe(cache)}`);
    }
    return [{ shape: cache.shape, dtype: "f32" }];
  },
  evaluate([cache, rows, at], { inputs }) {
    const { width, length, capacity } = extents(inputs);
    const out = cache.slice();
    at.forEach((first, text) => {
      for (let t = 0; t < Math.min(length, capacity - first); t++) {
        const from = (text * length + t) * width;
        out.set(rows.subarray(from, from + width), (text * capacity + first + t) * width);
      }
    });
    return [out];
  },
  dispatches({ inputs, outputs: [out] }, inPlace) {
    const [cache, rows, at] = inputs;
    const dispatch = (COPY: number, over: Tensor, bindings: Dispatch["bindings"]): Dispatch => ({
      kernel: renderKernel({ name: "write_rows", text }, { COPY, WORKGROUP: workgroup }),
      params: { size: sizeOf(over), ...extents(inputs) },
      bindings,
      grid: linearGrid(sizeOf(over), workgroup),
    });
    return [
      ...inPlace ? [] : [dispatch(1, cache, { cache, out })],
      dispatch(0, rows, { rows, at, out }),
    ];
  },
  inPlaceInput: () => 0,
};
