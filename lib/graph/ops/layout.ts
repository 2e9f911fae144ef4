/** The same values in another shape or order. */

import text from "../../../wgsl/swap_axes.wgsl" with { type: "text" };
import transposeText from "../../../wgsl/transpose.wgsl" with { type: "text" };
import { type DeviceTraits, linearGrid, maxGroups, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Op, sizeOf, type Spec, type Tensor } from "../graph.ts";
import { panelWidth } from "../storages/f32_panels.ts";

/** x in another shape, row-major. Costs nothing where nothing else reads x afterwards. */
export function reshape(x: Tensor, shape: readonly number[]): Tensor {
  return x.node.graph.apply(reshapeOp, [x], { shape })[0];
}

/** Swaps two axes: x as rows×p×q×width → rows×q×p×width, returned in shape `shape`. */
export function swapAxes(
  x: Tensor,
  axes: { readonly p: number; readonly q: number; readonly width: number },
  shape: readonly number[],
): Tensor {
  return x.node.graph.apply(swapAxesOp, [x], { ...axes, shape })[0];
}

/**
 * A frozen weight stored in panels, converted to row-major for methods that compute with W itself: [m, n] →
 * [m, n]. It has no gradient.
 */
export function rowMajor(panels: Tensor): Tensor {
  return panels.node.graph.apply(rowMajorOp, [panels], undefined)[0];
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

/** Swaps `axes` of x, or copies x if there are none. */
function dispatch(x: Tensor, out: Tensor, axes?: Omit<Axes, "shape">): Dispatch {
  const { p, q, width } = axes ?? { p: 1, q: 1, width: sizeOf(x) };
  const WIDTH = width % 4 === 0 ? 4 : 1;
  const size = sizeOf(x) / WIDTH;
  return {
    kernel: renderKernel({ name: "swap_axes", text }, { COPY: Number(!axes), WIDTH, WORKGROUP: workgroup }),
    params: { size, p, q, width: width / WIDTH },
    bindings: { x, out },
    grid: linearGrid(size, workgroup),
  };
}

/** Whether a GPU swaps the axes of an x of `size` values by tiles: matrices of single values that fill half a tile at least. */
function isTiled({ p, q, width }: Axes, size: number, { software }: DeviceTraits): boolean {
  return !software && width === 1 && Math.min(p, q) >= 16 && size / p / q <= maxGroups;
}

/** Turns matrices by tiles in workgroup memory. */
function tiledTranspose(x: Tensor, out: Tensor, { p, q }: Axes): Dispatch {
  return {
    kernel: renderKernel({ name: "transpose", text: transposeText }),
    params: { p, q },
    bindings: { x, out },
    grid: [Math.ceil(q / 32), Math.ceil(p / 32), sizeOf(x) / p / q],
  };
}

const reshapeOp: Op<Shaped> = {
  name: "reshape",
  infer: ([x], attrs) => reshaped(x, attrs),
  derivative: ({ inputs: [x] }, [gradient]) => [reshape(gradient!, x.shape)],
  evaluate: ([x]) => [x],
  dispatches: ({ inputs: [x], outputs: [out] }, inPlace) => inPlace ? [] : [dispatch(x, out)],
  overwrites: () => [0],
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
  dispatches: ({ inputs: [x], outputs: [out], attrs }, _, device) => [
    isTiled(attrs, sizeOf(x), device) ? tiledTranspose(x, out, attrs) : dispatch(x, out, attrs),
  ],
};

const rowMajorOp: Op<undefined> = {
  name: "rowMajor",
  storedInput: 0,
  infer([panels]) {
    if (panels.dtype !== "f32 in panels") throw new Error(`${describe(panels)} is not in panels`);
    return [{ shape: panels.shape, dtype: "f32" }];
  },
  derivative: () => [undefined],
  // Only the GPU stores panels; the values here are row-major.
  evaluate: ([panels]) => [panels],
  dispatches({ inputs: [panels], outputs: [out] }) {
    const [rows, columns] = out.shape;
    return [dispatch(panels, out, { p: columns / panelWidth, q: rows, width: panelWidth })];
  },
};
