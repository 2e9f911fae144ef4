/**
 * The features of two sentence vectors that a pair or choice head reads: [u, v, |u − v|, u ⊙ v] (Conneau et
 * al. 2017).
 */

import text from "../../../wgsl/compare_features.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Op, sizeOf, type Tensor } from "../graph.ts";
import { checkMatrices } from "./shapes.ts";

interface Attrs {
  readonly count: number;
  readonly options: number;
}

/**
 * pooled [(1 + options)·count, n], the `count` anchors u first and then `options` vectors v for each anchor,
 * → [count·options, 4n]. Row (i, o) compares anchor i with its option o.
 */
export function compareFeatures(pooled: Tensor, options: number): Tensor {
  return pooled.node.graph.apply(compareOp, [pooled], { options, count: pooled.shape[0] / (1 + options) })[0];
}

const workgroup = 64;

function dispatch(attrs: Attrs, size: number, bindings: Dispatch["bindings"]): Dispatch[] {
  const defines = { BACKWARD: Number(bindings.gradient !== undefined), WORKGROUP: workgroup };
  return [{
    kernel: renderKernel({ name: "compare_features", text }, defines),
    params: { size, width: bindings.pooled.shape[1], count: attrs.count, options: attrs.options },
    bindings,
    grid: linearGrid(size, workgroup),
  }];
}

const compareOp: Op<Attrs> = {
  name: "compareFeatures",
  infer([pooled], { count, options }) {
    checkMatrices(pooled);
    if (!Number.isInteger(count)) {
      throw new Error(`${describe(pooled)} is not anchors with ${options} others each`);
    }
    return [{ shape: [count * options, 4 * pooled.shape[1]], dtype: "f32" }];
  },
  derivative: ({ inputs: [pooled], attrs, graph }, [gradient]) =>
    graph.apply(compareGradientOp, [pooled, gradient!], attrs),
  evaluate([pooled], { inputs, outputs, attrs }) {
    const width = inputs[0].shape[1];
    const out = new Float64Array(sizeOf(outputs[0]));
    forEachPair(attrs, width, (iu, iv, base) => {
      const [u, v] = [pooled[iu], pooled[iv]];
      [u, v, Math.abs(u - v), u * v].forEach((value, part) => out[base + part * width] = value);
    });
    return [out];
  },
  dispatches({ inputs: [pooled], outputs: [out], attrs }) {
    return dispatch(attrs, sizeOf(out) / 4, { pooled, out });
  },
};

const compareGradientOp: Op<Attrs> = {
  name: "compareFeaturesGradient",
  infer: ([pooled]) => [pooled],
  evaluate([pooled, gradient], { inputs, attrs }) {
    const width = inputs[0].shape[1];
    const out = new Float64Array(pooled.length);
    forEachPair(attrs, width, (iu, iv, base) => {
      const [gu, gv, gd, gp] = [0, 1, 2, 3].map((part) => gradient[base + part * width]);
      const slope = Math.sign(pooled[iu] - pooled[iv]);
      out[iu] += gu + slope * gd + pooled[iv] * gp;
      out[iv] += gv - slope * gd + pooled[iu] * gp;
    });
    return [out];
  },
  dispatches({ inputs: [pooled, gradient], outputs: [out], attrs }) {
    return dispatch(attrs, sizeOf(out), { pooled, gradient, out });
  },
};

/**
 * Calls `visit(iu, iv, base)` for every element of every pair, with the indices of u and v in `pooled` and of
 * the first feature.
 */
function forEachPair(
  attrs: Attrs,
  width: number,
  visit: (iu: number, iv: number, base: number) => void,
): void {
  for (let pair = 0; pair < attrs.count * attrs.options; pair++) {
    for (let j = 0; j < width; j++) {
      visit(
        Math.floor(pair / attrs.options) * width + j,
        (attrs.count + pair) * width + j,
        pair * 4 * width + j,
      );
    }
  }
}
