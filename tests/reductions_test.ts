/** Sums over rows and along rows by a GPU's kernels, forward and gradient against float64, over odd shapes. */

import assert from "node:assert/strict";
import type { Graph } from "../lib/graph/graph.ts";
import { detachedInverseColumnNorm } from "../lib/graph/ops/column_norm.ts";
import { columnSum } from "../lib/graph/ops/column_sum.ts";
import { layerNorm } from "../lib/graph/ops/layer_norm.ts";
import { crossEntropy } from "../lib/graph/ops/losses.ts";
import { meanPool } from "../lib/graph/ops/mean_pool.ts";
import { rmsNorm } from "../lib/graph/ops/rms_norm.ts";
import { vocabularyLoss } from "../lib/graph/ops/vocabulary_loss.ts";
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

/** Rows of logits whose labels are spread over all classes; some weigh 0. */
function labelled(rows: number, classes: number) {
  return {
    labels: Array.from({ length: rows }, (_, i) => (i + 1) * (classes - 1) % classes),
    weights: Array.from({ length: rows }, (_, i) => i === 0 ? 1 : i % 3),
  };
}

for (const classes of [2, 3, 255, 256, 1000, 70_001]) {
  for (const rows of classes > 1000 ? [1, 3] : [1, 3, 65, 1000]) {
    Deno.test(`a GPU's crossEntropy ${rows}×${classes}`, () =>
      check(
        (graph) =>
          crossEntropy(
            x(graph, rows, classes),
            graph.input("labels", [rows], "u32"),
            graph.input("weights", [rows]),
          ),
        labelled(rows, classes),
      ));
  }
}

Deno.test("a GPU's crossEntropy of logits ascending, descending and alike is float64's", async () => {
  for (const slope of [1, -1, 0]) {
    const [rows, classes] = [2, 10_000];
    const logits = Array.from({ length: rows * classes }, (_, at) => slope * (at % classes) / 64);
    await check(
      (graph) =>
        crossEntropy(
          x(graph, rows, classes),
          graph.input("labels", [rows], "u32"),
          graph.input("weights", [rows]),
        ),
      { ...labelled(rows, classes), x: logits },
    );
  }
});

/** Rows in parts, and a head in pieces of which the last tokens do not exist. */
const vocabularies: readonly [string, number[], number[], number][] = [
  ["one piece", [3], [9000], 8998],
  ["pieces of odd sizes, rows in parts", [65, 3], [4099, 1000, 501], 5400],
  ["a last piece with no token", [3, 1], [5000, 300], 4000],
];

for (const [what, parts, pieces, limit] of vocabularies) {
  Deno.test(`a GPU's vocabularyLoss: ${what}`, () => {
    const rows = parts.reduce((sum, count) => sum + count, 0);
    return check((graph) => {
      const hidden = parts.map((count, i) => graph.weight(`h ${i}`, [count, 8], true));
      let first = 0;
      const heads = pieces.map((tokens, i) => {
        const piece = { weight: graph.weight(`W ${i}`, [tokens, 8], true), first };
        first += tokens;
        return piece;
      });
      const labels = graph.input("labels", [rows], "u32");
      return vocabularyLoss(hidden, heads, { labels, weights: graph.input("weights", [rows]), limit }).loss;
    }, labelled(rows, limit));
  });
}
