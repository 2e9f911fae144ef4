/** The kernels that GPUs run four values at a time give the bits of one at a time. */

import assert from "node:assert/strict";
import { Gpu } from "../lib/gpu/device.ts";
import { buildProgram } from "../lib/gpu/program.ts";
import { grad } from "../lib/graph/grad.ts";
import { Graph } from "../lib/graph/graph.ts";
import { dropout } from "../lib/graph/ops/dropout.ts";
import { streamOf, uniform } from "../lib/graph/random.ts";
import { TrainableWeights } from "../lib/run/trainable_weights.ts";
import { AdamW } from "../lib/train/adamw.ts";
import {
  fillSources,
  relativeError,
  runOnGpu,
  scalarOf,
  type Values,
} from "../tasks/conformance/op_errors.ts";
import { hardwareGpu, testGpu } from "./support/ops.ts";

/** The device with a software driver's kernels, and with a GPU's. */
async function bothDevices(): Promise<[Gpu, Gpu]> {
  const gpu = await testGpu();
  return [
    new Gpu(gpu.device, gpu.device.adapterInfo, { subgroupSize: 0, software: true }),
    await hardwareGpu(),
  ];
}

Deno.test("dropout, forward and backward, where the size is a multiple of 4 and where it is not", async () => {
  for (const columns of [12, 11]) {
    const graph = new Graph();
    const x = graph.weight("x", [37, columns], true);
    const y = dropout(x, graph.input("clock", [2], "u32"), 0.3);
    const values: Values = new Map([["clock", Float64Array.of(3, 11)]]);
    const outputs = [y, ...grad([scalarOf(graph, y)], [x])];
    fillSources(graph, values);
    const [software, hardware] = await bothDevices();
    const label = ({ traits }: Gpu) => y.node.op!.dispatches(y.node, false, traits)[0].kernel.label;
    assert.deepEqual([software, hardware].map((gpu) => label(gpu).match(/WIDTH=\d/)![0]), [
      "WIDTH=1",
      columns === 12 ? "WIDTH=4" : "WIDTH=1",
    ]);
    assert.deepEqual(
      await runOnGpu(hardware, outputs, values),
      await runOnGpu(software, outputs, values),
    );
  }
});

/** Weights and moments after three steps with gradients of their own, of tensors that end within a group of 64. */
async function afterThreeSteps(gpu: Gpu, maxNorm: number) {
  const random = (name: string, size: number) => uniform(7, streamOf(name), size, 0.5);
  const sizes = { a: 67, b: 300, c: 1 };
  using weights = new TrainableWeights(
    gpu,
    new Map(
      Object.entries(sizes).map(([name, size]) => [name, { shape: [size], data: random(name, size) }]),
    ),
  );
  const options = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1, maxNorm };
  using optimizer = new AdamW(gpu, weights, options, [1e-2, 2e-2, 3e-2], (name) => name === "b");
  using owned = new DisposableStack();
  const view = (label: string, bytes: number) => {
    const buffer = owned.adopt(gpu.createBuffer(label, bytes), (own) => gpu.destroyBuffer(own));
    return { buffer, offset: 0, bytes };
  };
  const [loss, clock] = [view("loss", 4), view("clock", 8)];
  using program = await buildProgram(gpu, "optimizer", optimizer.calls(loss, clock));
  for (let step = 0; step < 3; step++) {
    gpu.upload(weights.gradients, random(`gradient ${step}`, weights.size));
    gpu.upload(clock.buffer, Uint32Array.of(0, step));
    program.replay();
  }
  return [...(await weights.state()).values()].map(({ data }) => data);
}

Deno.test("AdamW; where gradients are clipped, but for the norm's own sum", async () => {
  const [software, hardware] = await bothDevices();
  const [one, four] = [await afterThreeSteps(software, 0), await afterThreeSteps(hardware, 0)];
  assert.ok(one.every((values) => new Set(values).size > 300));
  assert.deepEqual(four, one);
  const [alone, together] = [await afterThreeSteps(software, 1), await afterThreeSteps(hardware, 1)];
  together.forEach((values, i) => assert.ok(relativeError(values, alone[i]) < 1e-6));
  assert.ok(relativeError(alone[1], one[1]) > 0.1, "clipping is exercised");
});
