/**
 * Weights in panels: where each value is stored, that every kernel finds it there, and that training on them
 * gives the same result.
 */

import assert from "node:assert/strict";
import { examples, length, objective, vocabulary } from "../bench/works/batch.ts";
import { shapedEncoder } from "../bench/works/shaped_encoder.ts";
import { attach, type AttachOptions } from "../lib/adapters/attach.ts";
import { methodByName } from "../lib/adapters/registry.ts";
import { Gpu } from "../lib/gpu/device.ts";
import { sharingLanes } from "../lib/gpu/kernel.ts";
import { compile } from "../lib/graph/compile.ts";
import { Graph, type Tensor } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { add, multiply } from "../lib/graph/ops/binary.ts";
import { rowMajor } from "../lib/graph/ops/layout.ts";
import { linear, matmul } from "../lib/graph/ops/product/product.ts";
import { fitsPanels, panelWidth, toPanels } from "../lib/graph/storages/f32_panels.ts";
import type { Model, Weight } from "../lib/models/model.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { WeightStore } from "../lib/run/weight_store.ts";
import { Trainer } from "../lib/train/trainer.ts";
import { randomValues, relativeError, runOnGpu, type Values } from "../tasks/conformance/op_errors.ts";
import { testGpu } from "./support/ops.ts";

Deno.test("each value is written once and to its place, whatever the pieces it comes in", () => {
  const [rows, columns] = [7, 3 * panelWidth];
  const values = Float32Array.from({ length: rows * columns }, (_, i) => i + 1);
  const expected = new Float32Array(values.length);
  values.forEach((value, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const panel = Math.floor(column / panelWidth);
    expected[(panel * rows + row) * panelWidth + column % panelWidth] = value;
  });
  for (const length of [1, 5, 63, 64, 191, 192, 193, 500, values.length]) {
    const found = new Float32Array(values.length);
    let written = 0;
    for (let from = 0; from < values.length; from += length) {
      toPanels(values.slice(from, from + length), from, [rows, columns], (run, at) => {
        found.set(run, at);
        written += run.length;
      });
    }
    assert.deepEqual(found, expected, `pieces of ${length}`);
    assert.equal(written, values.length, `pieces of ${length}`);
  }
  assert.deepEqual([[4, 64], [6, 64], [4, 96], [768, 3072]].map(fitsPanels), [true, false, false, true]);
});

/** x Wᵀ and dY W, with W in panels or not. */
function traced(transposeB: boolean, dtype: "f32" | "f32 in panels", [tokens, m, n]: readonly number[]) {
  const graph = new Graph();
  const x = graph.weight("x", [tokens, transposeB ? n : m], false);
  return matmul(x, graph.weight("W", [m, n], false, dtype), { transposeB });
}

/** Names of a kernel of each family that computes `product`, and devices that choose it. */
function devicesByFamily(gpu: Gpu, { node }: Tensor): [family: string, device: Gpu][] {
  // Plain kernels are for software drivers alone, those that share tiles in workgroup memory for GPUs.
  const families = [["subgroup", true], ["plain", true], ["workgroup", false]] as const;
  return families.flatMap(([family, software]) => {
    const traits = { ...gpu.traits, software };
    const { bucket, candidates } = node.op!.variants!(node, traits);
    const found = candidates.find(({ name }) => name.startsWith(family));
    if (!found) return [];
    const choosing = { ...traits, choices: new Map([[bucket, found.name]]) };
    return [[family, new Gpu(gpu.device, gpu.device.adapterInfo, choosing)]];
  });
}

for (
  const [transposeB, shape] of [
    // GPUs split a k from 256 on into parts where C is as small.
    [true, [70, 132, 192]],
    [false, [70, 132, 256]],
    // k is summed in two parts, or in three if B is row-major.
    [false, [70, 1100, 128]],
  ] as const
) {
  const [tokens, m, n] = shape;
  const name = `${transposeB ? "y = x Wᵀ" : "dx = dY W"}, ${tokens} tokens, W ${m}×${n}`;
  Deno.test(`a kernel of each family finds what lies in panels, to the same bits: ${name}`, async () => {
    const values: Values = new Map([
      ["x", randomValues("x", tokens * (transposeB ? n : m))],
      ["W", randomValues("W", m * n)],
    ]);
    const gpu = await testGpu();
    const product = traced(transposeB, "f32 in panels", shape);
    const devices = devicesByFamily(gpu, product);
    assert.equal(devices.length, sharingLanes(gpu.traits) > 0 ? 3 : 2);
    const results = await Promise.all(devices.map(([, device]) => runOnGpu(device, [product], values)));
    const expected = interpret([product], values)[0];
    for (const [i, [family]] of devices.entries()) {
      assert.ok(relativeError(results[i][0], expected) < 1e-5, family);
      // GPUs and software drivers divide a long k differently.
      const alike = m <= 1024 || family !== "workgroup" ? 0 : i;
      assert.deepEqual(results[i], results[alike], family);
    }
    if (m > 1024) return;
    assert.deepEqual(results[0], await runOnGpu(gpu, [traced(transposeB, "f32", shape)], values));
  });
}

Deno.test("weights in panels are never read as row-major, nor row-major weights as panels", async () => {
  const graph = new Graph();
  const W = graph.weight("W", [128, 128], false, "f32 in panels");
  const x = graph.weight("x", [128, 128], false);
  const half = { blocks: 2, splits: { a: "columns", b: "rows", out: "columns" } } as const;
  for (const options of [half, { transposeA: true }]) {
    assert.throws(() => matmul(x, W, options), /\[128, 128\] f32 in panels: wants one block/);
  }
  const odd = graph.weight("odd", [13, 64], false, "f32 in panels");
  assert.throws(() => linear(graph.weight("y", [2, 64], false), odd), /a shape that fits panels/);
  for (const read of [() => matmul(W, x), () => multiply(x, W), () => add(W, x)]) {
    assert.throws(read, /reads \[128,128\] row by row as f32, and it is f32 in panels/);
  }
  assert.throws(() => rowMajor(x), /\[128, 128\] f32 is not in panels/);
  const gpu = await testGpu();
  const data = Float32Array.from(randomValues("W", 128 * 128));
  const frozenAs = (shapes: Record<string, number[]>) =>
    new FrozenWeights(gpu, [["W", { data }], ["x", { data }]], new Map(Object.entries(shapes)));
  assert.throws(() => frozenAs({ W: [128, 96] }), /"W" is \[128,96\], which cannot lie in panels/);
  for (
    const [shapes, message] of [
      [{ W: [128, 128], x: [128, 128] }, /test: "x" lies in panels, and the graph reads it row by row/],
      [{}, /test: "W" lies row by row, and the graph reads it in panels/],
    ] as const
  ) {
    using frozen = frozenAs(shapes as Record<string, number[]>);
    const weights = (name: string) => frozen.view(name)!;
    await assert.rejects(() => compile(gpu, [linear(x, W)], { label: "test", weights }), message);
  }
});

/** Of 12 heads. */
const width = 384;

/** The losses of two steps on an encoder 384 wide, with the model's weights as `frozen` has them. */
async function losses(gpu: Gpu, model: Model, method: string, options: object, frozen?: FrozenWeights) {
  const adapter = attach(
    model,
    methodByName(method),
    { ...options, target: ["query", "value"] } as AttachOptions,
  );
  const training = { learningRate: 1e-2, epochs: 2, batchSize: examples.length, warmupRatio: 0, seed: 0 };
  using trainer = new Trainer({
    gpu,
    model,
    adapter,
    objective: objective(model),
    examples,
    frozen,
    ...training,
  });
  return [...await trainer.epoch(), ...await trainer.epoch()].map((
    { loss, gradientNorm },
  ) => [loss, gradientNorm]);
}

for (
  const [method, options] of Object.entries({
    "LoRA": { r: 8 },
    "BoRA": { r: 4, blocks: 8 },
    // These methods compute with W itself; ReLoRA uses its own copy of W, and full fine-tuning trains W.
    "DoRA": { r: 4 },
    "HiRA": { r: 4 },
    "ReLoRA": { r: 4, every: 1, restartWarmup: 0 },
    "Full fine-tuning": {},
  })
) {
  Deno.test(`${method}: training on weights in panels is training on the same weights`, async () => {
    const gpu = await testGpu();
    const model = shapedEncoder(2, vocabulary, length, width);
    const all = [...model.weights, ...model.constants] as [string, Weight][];
    const shapes = model.linears.map(({ path, m, n }) => [`${path}.weight`, [m, n]] as const);
    using rows = new FrozenWeights(gpu, all);
    using panels = new FrozenWeights(gpu, all, new Map(shapes));
    assert.equal(new WeightStore(panels).storage("layer.0.query.weight"), "f32 in panels");
    assert.equal(new WeightStore(rows).storage("layer.0.query.weight"), "f32");
    const expected = (await losses(gpu, model, method, options, rows)).flat();
    const found = (await losses(gpu, model, method, options, panels)).flat();
    // A long k is summed in different parts.
    found.forEach((value, i) =>
      assert.ok(Math.abs(value / expected[i] - 1) < 1e-5, `${found}, not ${expected}`)
    );
    assert.notEqual(expected[0], expected[2]);
  });
}

Deno.test("a software driver whose lanes share loads trains on linear layers' weights in panels, and no other device", async () => {
  const gpu = await testGpu();
  const model = shapedEncoder(1, vocabulary, length, width);
  const storageOn = (traits: Gpu["traits"]) => {
    using frozen = FrozenWeights.forTraining(new Gpu(gpu.device, gpu.device.adapterInfo, traits), model);
    return ["layer.0.query.weight", "embedding.weight"].map((name) => new WeightStore(frozen).storage(name));
  };
  assert.deepEqual(storageOn({ subgroupSize: 8, software: true }), ["f32 in panels", "f32"]);
  assert.deepEqual(storageOn({ subgroupSize: 8 }), ["f32", "f32"]);
  assert.deepEqual(storageOn({ subgroupSize: 0, software: true }), ["f32", "f32"]);
});
