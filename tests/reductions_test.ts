/** Sums over rows and along rows by a GPU's kernels, forward and gradient against float64, over odd shapes. */

import assert from "node:assert/strict";
import { needsOf } from "../lib/gpu/kernel.ts";
import { grad } from "../lib/graph/grad.ts";
import { bytesOf, type Dispatch, Graph, type Tensor } from "../lib/graph/graph.ts";
import { add } from "../lib/graph/ops/binary.ts";
import { detachedInverseColumnNorm } from "../lib/graph/ops/column_norm.ts";
import { columnSum } from "../lib/graph/ops/column_sum.ts";
import { layerNorm } from "../lib/graph/ops/layer_norm.ts";
import { crossEntropy } from "../lib/graph/ops/losses.ts";
import { meanPool } from "../lib/graph/ops/mean_pool.ts";
import { rmsNorm } from "../lib/graph/ops/rms_norm.ts";
import { vocabularyLoss } from "../lib/graph/ops/vocabulary_loss.ts";
import { plan } from "../lib/graph/plan.ts";
import type { OpCase } from "../tasks/conformance/op_cases.ts";
import { opErrors, scalarOf, traceCase } from "../tasks/conformance/op_errors.ts";
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

function normOf(graph: Graph, rows: number, cols: number): Tensor {
  const [gamma, beta] = ["gamma", "beta"].map((name) => graph.weight(name, [cols], true));
  return layerNorm(x(graph, rows, cols), gamma, beta, 1e-2);
}

function rmsOf(graph: Graph, rows: number, cols: number): Tensor {
  return rmsNorm(x(graph, rows, cols), graph.weight("gamma", [cols], true), 1e-2);
}

const ops: Readonly<Record<string, (rows: number, cols: number) => Trace>> = {
  columnSum: (rows, cols) => (graph) => columnSum(x(graph, rows, cols)),
  inverseColumnNorm: (rows, cols) => (graph) =>
    detachedInverseColumnNorm(graph.weight("x", [rows, cols], false)),
  layerNorm: (rows, cols) => (graph) => normOf(graph, rows, cols),
  rmsNorm: (rows, cols) => (graph) => rmsOf(graph, rows, cols),
  // Gradients that are added to another.
  "layerNorm beside its input": (rows, cols) => (graph) =>
    add(x(graph, rows, cols), normOf(graph, rows, cols)),
  "rmsNorm beside its input": (rows, cols) => (graph) => add(x(graph, rows, cols), rmsOf(graph, rows, cols)),
  meanPool: (rows, cols) => (graph) => meanPool(x(graph, 3 * rows, cols), graph.input("lengths", [3], "u32")),
};

/** Rows that fill their lanes and that do not, of every number of lanes, and those too long for registers. */
const shapes: readonly (readonly [number, number])[] = [
  ...[1, 3, 65].flatMap((rows) => [4, 12, 100, 768, 1030, 4096].map((cols) => [rows, cols] as const)),
  [1000, 4],
  [1000, 12],
  [1000, 100],
  [2, 5124],
  [2, 8192],
  [2, 8196],
];

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

const entropy = (rows: number, classes: number): Trace => (graph) =>
  crossEntropy(x(graph, rows, classes), graph.input("labels", [rows], "u32"), graph.input("weights", [rows]));

for (const classes of [2, 3, 255, 256, 1000, 70_001]) {
  for (const rows of classes > 1000 ? [1, 3] : [1, 3, 65, 1000]) {
    Deno.test(`a GPU's crossEntropy ${rows}×${classes}`, () =>
      check(entropy(rows, classes), labelled(rows, classes)));
  }
}

Deno.test("a GPU's crossEntropy of logits ascending, descending and alike is float64's", async () => {
  for (const slope of [1, -1, 0]) {
    const [rows, classes] = [2, 10_000];
    const logits = Array.from({ length: rows * classes }, (_, at) => slope * (at % classes) / 64);
    await check(entropy(rows, classes), { ...labelled(rows, classes), x: logits });
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

/** The launches on a GPU of an op and of its gradient. */
async function launchesOf(trace: Trace): Promise<Dispatch[]> {
  const graph = new Graph();
  const output = trace(graph);
  const loss = output.shape.join() === "1" ? output : scalarOf(graph, output);
  const targets = graph.nodes.filter(({ source }) => source === "trainable").map((node) => node.outputs[0]);
  const { nodes, inPlace } = plan([output, ...targets.length > 0 ? grad([loss], targets) : []]);
  const { traits } = await hardwareGpu();
  return nodes.flatMap((node) => node.op!.dispatches(node, inPlace.has(node), traits));
}

Deno.test("what touches a MiB has 8,192 invocations on a GPU", async () => {
  const sizes = [[1024, 768], [1024, 4096], [65_536, 4], [4096, 64], [2048, 128], [300, 1030], [32, 8192]];
  const logits = [[1, 262_144], [8, 256_000], [128, 151_936], [1030, 255], [1024, 256]];
  const traces = [
    ...Object.values(ops).flatMap((trace) => sizes.map(([rows, cols]) => trace(rows, cols))),
    ...logits.map(([rows, classes]) => entropy(rows, classes)),
  ];
  // The launch that joins parts of rows reads a logit of each.
  const own =
    /^(column_teams|layer_norm|rms_norm|mean_pool|softmax_parts|logit_gradient|cross_entropy PASS=[02])/;
  let count = 0;
  for (const trace of traces) {
    for (const { kernel, bindings, grid } of await launchesOf(trace)) {
      const bytes = Object.values(bindings).reduce((sum, tensor) => sum + bytesOf(tensor), 0);
      if (!own.test(kernel.label) || bytes < 2 ** 20) continue;
      const groups = grid.reduce((product, extent) => product * extent);
      const invocations = groups * needsOf(kernel).maxComputeInvocationsPerWorkgroup;
      assert.ok(invocations >= 8192, `${kernel.label} by ${grid}: ${invocations} for ${bytes} bytes`);
      count++;
    }
  }
  assert.ok(count > 100, `${count} launches`);
});
