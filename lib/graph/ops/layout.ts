/** The same numbers in another shape or order. */

import text from "../../../wgsl/swap_axes.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Op, sizeOf, type Spec, type Tensor } from "../graph.ts";

/** x in another shape, row-major: free where nothing reads x afterwards. */
export function reshape(x: Tensor, shape: readonly number[]): Tensor {
  return x.node.graph.apply(reshapeOp, [x], { shape })[0];
}

/** x as rows×p×q×width → rows×q×p×width, given back in `shape`. */
export function swapAxes(
  x: Tensor,
  axes: { readonly p: number; readonly q: number; readonly width: number },
  shape: readonly number[],
): Tensor {
  return x.node.graph.apply(swapAxesOp, [x], { ...axes, shape })[0];
}

interface Shaped {
  readonly shape: readonly number[];
}

interface Axes extends Shaped {
  readonly p: number;
  readonly q: number;
  readonly width: number;
}

function reshaped(x: Spec, { shape }: Shaped): Spec[] {
  const spec: Spec = { shape, dtype: x.dtype };
  if (sizeOf(spec) !== sizeOf(x)) throw new Error(`${describe(x)} does not hold ${describe(spec)}`);
  return [spec];
}

const workgroup = 64;

function dispatch(x: Tensor, out: Tensor, axes?: Axes): Dispatch {
  return {
    kernel: renderKernel({ name: "swap_axes", text }, { COPY: Number(!axes), WORKGROUP: workgroup }),
    params: { size: sizeOf(x), p: axes?.p ?? 1, q: axes?.q ?? 1, width: axes?.width ?? 1 },
    bindings: { x, out },
    grid: linearGrid(sizeOf(x), workgroup),
  };
}

const reshapeOp: Op<Shaped> = {
  name: "reshape",
  infer: ([x], attrs) => reshaped(x, attrs),
  derivative: ({ inputs: [x] }, [gradient]) => [reshape(gradient!, x.shape)],
  evaluate: ([x]) => [x],
  dispatches: ({ inputs: [x], outputs: [out] }, inPlace) => inPlace ? [] : [dispatch(x, out)],
  inPlaceInput: () => 0,
};

const swapAxesOp: Op<Axes> = {
  name: "swapAxes",
  infer([x], attrs) {
    const block = attrs.p * attrs.q * attrs.width;
    if (sizeOf(x) % block !== 0) {
      throw new Error(`${describe(x)} is not rows of ${attrs.p}×${attrs.q}×${attrs.width}`);
    }
    return reshaped(x, attrs);
  },
  derivative: ({ inputs: [x], attrs: { p, q, width } }, [gradient]) => [
    swapAxes(gradient!, { p: q, q: p, width }, x.shape),
  ],
  evaluate([x], { attrs: { p, q, width } }) {
    return [x.map((_, index) => {
      const [c, i] = [index % width, Math.floor(index / width) % p];
      const [j, t] = [Math.floor(index / width / p) % q, Math.floor(index / width / p / q)];
      return x[((t * p + i) * q + j) * width + c];
    })];
  },
  dispatches: ({ inputs: [x], outputs: [out], attrs }) => [dispatch(x, out, attrs)],
};
