/** A frozen weight that lies in panels, row by row, for methods that compute with W itself. */

import text from "../../../wgsl/row_major.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Op, sizeOf, type Tensor } from "../graph.ts";
import { panelWidth } from "../panels.ts";

const workgroup = 64;

/** The same values as f32: W [m, n] in panels → [m, n]. It has no gradient: W is frozen. */
export function rowMajor(panels: Tensor): Tensor {
  return panels.node.graph.apply(rowMajorOp, [panels], undefined)[0];
}

const rowMajorOp: Op<undefined> = {
  name: "rowMajor",
  panelInput: 0,
  infer([panels]) {
    if (panels.dtype !== "f32 in panels") throw new Error(`${describe(panels)} is not in panels`);
    return [{ shape: panels.shape, dtype: "f32" }];
  },
  derivative: () => [undefined],
  // What lies in panels on the GPU is row-major elsewhere.
  evaluate: ([panels]) => [panels],
  dispatches({ inputs: [panels], outputs: [out] }) {
    const [rows, columns] = out.shape;
    const size = sizeOf(out) / 4;
    return [{
      kernel: renderKernel({ name: "row_major", text }, { PANEL: panelWidth, WORKGROUP: workgroup }),
      params: { size, rows, columns: columns / 4 },
      bindings: { panels, out },
      grid: linearGrid(size, workgroup),
    }];
  },
};
