/** Every op, forward and backward, over odd shapes: GPU = interpreter, interpreter = finite differences. */

import assert from "node:assert/strict";
import { Gpu } from "../lib/gpu/device.ts";
import { Graph } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { add } from "../lib/graph/ops/binary.ts";
import { dropout } from "../lib/graph/ops/dropout.ts";
import { gate } from "../lib/graph/ops/gate.ts";
import { reshape, swapAxes } from "../lib/graph/ops/layout.ts";
import { matmul } from "../lib/graph/ops/matmul.ts";
import { scaleColumns } from "../lib/graph/ops/scale_columns.ts";
import { opCases } from "./support/op_cases.ts";
import { checkOp, fillSources, relativeError, runOnGpu, testGpu, type Values } from "./support/ops.ts";

for (const op of opCases) Deno.test(op.name, () => checkOp(op));

for (
  const { m, n, layouts } of [
    { m: 41, n: 68, layouts: ["NN", "NT", "TN"] },
    { m: 41, n: 24, layouts: ["NN", "NT", "TN"] },
    // An adapter's U and dV, one column a lane; its dA and, as a transpose, dB.
    { m: 41, n: 7, layouts: ["NN", "NT"] },
    { m: 8, n: 132, layouts: ["TN"] },
    { m: 132, n: 8, layouts: ["TN"] },
  ]
) {
  Deno.test(`the kernel for subgroups gives the bits of the plain one at ${m}×${n}, epilogue and blocks included`, async () => {
    const gpu = await testGpu();
    const plain = new Gpu(gpu.device, gpu.device.adapterInfo);
    const [k, blocks] = [20, n === 24 ? 1 : 3];
    for (const layout of layouts) {
      const graph = new Graph();
      const [transposeA, transposeB] = [...layout].map((letter) => letter === "T");
      const isTall = transposeA && m > n;
      const rows = transposeA ? Math.ceil(m / 4) * 4 : m;
      const out = matmul(
        graph.weight("a", transposeA ? [k, rows * blocks] : [rows, k * blocks], false),
        graph.weight("b", transposeB ? [n, k * blocks] : [k, n * blocks], false),
        {
          transposeA,
          transposeB,
          blocks,
          scale: 0.3,
          ...isTall ? {} : { bias: graph.weight("bias", [n * blocks], false), activation: "tanh" },
          residual: graph.weight("residual", [rows, n * blocks], false),
        },
      );
      const values: Values = new Map();
      fillSources(graph, values);
      const [expected] = interpret([out], values);
      const [shared] = await runOnGpu(gpu, [out], values);
      assert.ok(relativeError(shared, expected) < 1e-5);
      assert.deepEqual(shared, (await runOnGpu(plain, [out], values))[0]);
      const kernelOn = (subgroupSize: number) =>
        out.node.op!.dispatches(out.node, false, { subgroupSize })[0].kernel;
      assert.match(kernelOn(8).label, /^matmul_subgroup /);
      assert.match(kernelOn(0).label, /^matmul /);
      assert.match(kernelOn(32).label, /^matmul /, "a GPU's subgroups are too wide for its tiles");
    }
  });
}

for (const inPlace of [false, true]) {
  Deno.test(`a long k is summed launch by launch, the residual ${inPlace ? "in place" : "apart"}`, async () => {
    const [m, n, k] = [36, 36, 1100];
    for (const transposeA of [false, true]) {
      const graph = new Graph();
      const residual = graph.weight("residual", [m, n], false);
      const out = matmul(
        graph.weight("a", transposeA ? [k, m] : [m, k], false),
        graph.weight("b", [k, n], false),
        {
          transposeA,
          scale: 0.3,
          bias: graph.weight("bias", [n], false),
          residual: inPlace ? add(residual, residual) : residual,
        },
      );
      const values: Values = new Map();
      fillSources(graph, values);
      const launches = out.node.op!.dispatches(out.node, inPlace, { subgroupSize: 8 });
      assert.deepEqual(launches.map(({ params }) => params.k), [512, 512, 76]);
      const [actual] = await runOnGpu(await testGpu(), [out], values);
      assert.ok(relativeError(actual, interpret([out], values)[0]) < 2e-6);
    }
  });
}

Deno.test("matmul names both shapes when they do not fit, and the blocks when they do not divide", () => {
  const graph = new Graph();
  const a = graph.weight("a", [4, 6], true);
  const b = graph.weight("b", [5, 7], true);
  assert.throws(() => matmul(a, b), /\[4, 6\].*\[5, 7\].*inner extents 6 and 5 differ/);
  assert.throws(
    () => matmul(a, graph.weight("c", [8, 6], true), { transposeB: true, blocks: 4 }),
    /4 blocks do not divide/,
  );
});

Deno.test("an empty dimension is refused", () => {
  const graph = new Graph();
  assert.throws(() => add(graph.input("a", [0, 3]), graph.input("b", [0, 3])), /shape \[0,3\] has an empty/);
});

Deno.test("dropout drops its rate, differently every step and stream", async () => {
  const graph = new Graph();
  const clock = graph.input("clock", [2], "u32");
  const x = graph.input("x", [100, 100]);
  const outputs = [dropout(x, clock, 0.3), dropout(x, clock, 0.3)];
  const run = async (step: number) =>
    await runOnGpu(
      await testGpu(),
      outputs,
      new Map([["x", new Float64Array(10000).fill(1)], ["clock", Float64Array.of(1, step)]]),
    );
  const [[a, b], [c]] = [await run(0), await run(1)];
  const share = a.filter((value) => value === 0).length / a.length;
  assert.ok(Math.abs(share - 0.3) < 0.02, `${share} dropped`);
  const same = (p: Float64Array, q: Float64Array) => p.filter((value, i) => value === q[i]).length / p.length;
  assert.ok(same(a, b) < 0.65 && same(a, c) < 0.65);
});

Deno.test("the new ops name what does not fit", () => {
  const graph = new Graph();
  const x = graph.input("x", [4, 6]);
  assert.throws(() => reshape(x, [5, 5]), /\[4, 6\] f32 does not hold \[5, 5\] f32/);
  assert.throws(() => swapAxes(x, { p: 5, q: 1, width: 1 }, [24]), /not rows of 5×1×1/);
  assert.throws(
    () => gate(x, graph.input("u", [3, 6]), true),
    /gates \[4, 6\] f32 do not fit vectors \[3, 6\]/,
  );
  assert.throws(
    () => scaleColumns(x, graph.input("s", [4])),
    /\[4\] f32 does not fit the columns of \[4, 6\]/,
  );
});
