/** Sums over rows and along rows by a GPU's kernels, forward and gradient against float64, over odd shapes. */

import assert from "node:assert/strict";
import type { Graph } from "../lib/graph/graph.ts";
import { detachedInverseColumnNorm } from "../lib/graph/ops/column_norm.ts";
import { columnSum } from "../lib/graph/ops/column_sum.ts";
import { layerNorm } from "../lib/graph/ops/layer_norm.ts";
import { meanPool } from "../lib/graph/ops/mean_pool.ts";
import { rmsNorm } from "../lib/graph/ops/rms_norm.ts";
import type { OpCase } from "../tasks/conformance/op_cases.ts";
import { opErrors, traceCase } from "../tasks/conformance/op_errors.ts";
import { hardwareGpu } from "./support/ops.ts";

type Trace = OpCase["trace"];

/** Checks an op by a GPU's kernels; `values` as in `OpCase`. */
async function check(trace: Trace, values: OpCase["values"] = {}, tolerance = 2e-5): Promise<void> {
  const traced = traceCase({ family: "", name: "", tolerance, trace, values });
  for (const { tensor, error } of await opErrors(await hardwareGpu(), traced)) {
    assert.ok(error <= tolerance, `${tensor}: relative error ${error}`);
  }
}

const x = (graph: Graph, rows: number, cols: number) => graph.weight("x", [rows, cols], true);

const ops: Readonly<Record<string, (rows: number, cols: number) => Trace>> = {
  columnSum: (rows, cols) => (graph) => columnSum(x(graph, rows, cols)),
  inverseColumnNorm: (rows, cols) => (graph) =>
    detachedInverseColumnNorm(graph.weight("x", [rows, cols], false)),
  layerNorm: (rows, cols) => (graph) =>
    layerNorm(
      x(graph, rows, cols),
      graph.weight("gamma", [cols], true),
      graph.weight("beta", [cols], true),
      1e-2,
    ),
  rmsNorm: (rows, cols) => (graph) =>
    rmsNorm(x(graph, rows, cols), graph.weight("gamma", [cols], true), 1e-2),
  meanPool: (rows, cols) => (graph) => meanPool(x(graph, 3 * rows, cols), graph.input("lengths", [3], "u32")),
};

/** Shapes of odd extents, but the largest: they take long in float64. */
const shapes = [1, 3, 65, 1000].flatMap((rows) =>
  [4, 12, 100, 768, 1030, 4096].map((cols) => [rows, cols] as const)
).filter(([rows, cols]) => rows * cols < 4e5);

for (const [name, trace] of Object.entries(ops)) {
  for (const [rows, cols] of shapes) {
    Deno.test(`a GPU's ${name} ${rows}×${cols}`, () =>
      check(trace(rows, cols), { lengths: [rows, Math.ceil(rows / 2), 1] }));
  }
}
