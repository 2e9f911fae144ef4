/** BoRA's mix as GPUs compute it, in shapes large enough for every tile and for dΣ in two stages. */

import assert from "node:assert/strict";
import { Gpu } from "../lib/gpu/device.ts";
import { grad } from "../lib/graph/grad.ts";
import { Graph } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { boraMix } from "../lib/graph/ops/bora.ts";
import { plan } from "../lib/graph/plan.ts";
import {
  fillSources,
  relativeError,
  runOnGpu,
  scalarOf,
  type Values,
} from "../tasks/conformance/op_errors.ts";
import { hardwareGpu, testGpu } from "./support/ops.ts";

/** V, dU and dΣ, and the values of what they are computed from. */
function tracedMix(tokens: number, b: number, r: number) {
  const graph = new Graph();
  const [u, diagonal] = [graph.weight("u", [tokens, b * r], true), graph.weight("diagonal", [b, b, r], true)];
  const v = boraMix(u, diagonal);
  const values: Values = new Map([["probe weight", new Float64Array(tokens * b * r).fill(1)]]);
  const outputs = [v, ...grad([scalarOf(graph, v)], [u, diagonal])];
  fillSources(graph, values);
  return { outputs, values };
}

for (
  const { tokens, b, r, tile, kernels } of [
    { tokens: 130, b: 3, r: 7, tile: "TILE=1 TOKENS=1 STEP=1", kernels: 4 },
    { tokens: 127, b: 2, r: 9, tile: "TILE=1 TOKENS=1 STEP=2", kernels: 3 },
    { tokens: 191, b: 16, r: 8, tile: "TILE=1 TOKENS=1 STEP=4", kernels: 4 },
    { tokens: 2185, b: 6, r: 5, tile: "TILE=2 TOKENS=1 STEP=2", kernels: 4 },
    { tokens: 4371, b: 6, r: 5, tile: "TILE=2 TOKENS=2 STEP=2", kernels: 4 },
    { tokens: 13109, b: 4, r: 20, tile: "TILE=4 TOKENS=2 STEP=1", kernels: 4 },
  ]
) {
  Deno.test(`a GPU mixes ${b} blocks of ${r} for ${tokens} tokens by ${tile}, with a software driver's bits but for dΣ`, async () => {
    const [gpu, hardware] = [await testGpu(), await hardwareGpu()];
    const { outputs, values } = tracedMix(tokens, b, r);
    const { nodes } = plan(outputs);
    const labels = nodes.flatMap((node) => node.op!.dispatches(node, false, hardware.traits))
      .map(({ kernel }) => kernel.label).filter((label) => /^bora_mix|^matmul_sum/.test(label));
    assert.equal(labels.length, kernels);
    assert.ok(labels.some((label) => label.includes(tile)), labels.join());
    const expected = interpret(outputs, values);
    const actual = await runOnGpu(hardware, outputs, values);
    actual.forEach((own, i) => assert.ok(relativeError(own, expected[i]) < 5e-6, `output ${i}`));
    assert.deepEqual(await runOnGpu(hardware, outputs, values), actual);
    const software = new Gpu(gpu.device, gpu.device.adapterInfo, { subgroupSize: 0, software: true });
    assert.deepEqual((await runOnGpu(software, outputs, values)).slice(0, 2), actual.slice(0, 2));
  });
}
