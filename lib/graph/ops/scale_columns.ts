/** Scaling the columns of a matrix: DoRA's magnitudes, VeRA's and RandLoRA's scaling vectors. */

import text from "../../../wgsl/scale_columns.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Op, sizeOf, type Tensor } from "../graph.ts";
import { multiply } from "./binary.ts";
import { columnSum } from "./column_sum.ts";

/** What may be added to the scaled columns. */
export interface ScaleOptions {
  /** One value per column. */
  readonly shift?: Tensor;
  /** Shaped like x. */
  readonly residual?: Tensor;
}

interface Attrs {
  readonly hasShift: boolean;
  readonly hasResidual: boolean;
}

/** x[t, j] · scale[j] (+ shift[j]) (+ residual[t, j]): x and residual [rows, cols], scale and shift [cols]. */
export function scaleColumns(x: Tensor, scale: Tensor, { shift, residual }: ScaleOptions = {}): Tensor {
  const inputs = [x, scale, shift, residual].filter((tensor) => tensor !== undefined);
  const attrs = { hasShift: shift !== undefined, hasResidual: residual !== undefined };
  return x.node.graph.apply(scaleColumnsOp, inputs, attrs)[0];
}

const workgroup = 64;

const scaleColumnsOp: Op<Attrs> = {
  name: "scaleColumns",
  infer([x, ...rest], { hasShift, hasResidual }) {
    const columns = hasShift ? rest.slice(0, 2) : rest.slice(0, 1);
    for (const spec of columns) {
      if (x.shape.length !== 2 || sizeOf(spec) !== x.shape[1]) {
        throw new Error(`${describe(spec)} does not fit the columns of ${describe(x)}`);
      }
    }
    const residual = rest.at(-1)!;
    if (hasResidual && residual.shape.join() !== x.shape.join()) {
      throw new Error(`residual ${describe(residual)} does not fit ${describe(x)}`);
    }
    return [{ shape: x.shape, dtype: "f32" }];
  },
  derivative: ({ inputs: [x, scale], attrs }, [gradient]) => [
    scaleColumns(gradient!, scale),
    columnSum(multiply(gradient!, x)),
    ...(attrs.hasShift ? [columnSum(gradient!)] : []),
    ...(attrs.hasResidual ? [gradient] : []),
  ],
  evaluate([x, scale, ...rest], { attrs }) {
    const shift = attrs.hasShift ? rest[0] : undefined;
    const residual = attrs.hasResidual ? rest.at(-1) : undefined;
    return [
      x.map((value, i) =>
        value * scale[i % scale.length] + (shift?.[i % scale.length] ?? 0) + (residual?.[i] ?? 0)
      ),
    ];
  },
  dispatches({ inputs: [x, scale, ...rest], outputs: [out], attrs }) {
    const defines = {
      SHIFT: Number(attrs.hasShift),
      RESIDUAL: Number(attrs.hasResidual),
      WORKGROUP: workgroup,
    };
    return [{
      kernel: renderKernel({ name: "scale_columns", text }, defines),
      params: { size: sizeOf(x), cols: x.shape[1] },
      bindings: {
        x,
        scale,
        out,
        ...(attrs.hasShift ? { shift: rest[0] } : {}),
        ...(attrs.hasResidual ? { residual: rest.at(-1)! } : {}),
      },
      grid: linearGrid(sizeOf(x), workgroup),
    }];
  },
};
