/** Dense products of GPUs that hold their operands as f16. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { Gpu, openGpu } from "../lib/gpu/device.ts";
import { Graph, type Tensor } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { matmul } from "../lib/graph/ops/product/product.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import { classification } from "../lib/objectives/classification.ts";
import { Trainer } from "../lib/train/trainer.ts";
import { fillSources, relativeError, runOnGpu, type Values } from "../tasks/conformance/op_errors.ts";
import { cases } from "./support/bert_reference.ts";
import { withFolder } from "./support/files.ts";
import { hardwareGpu } from "./support/ops.ts";
import { writeCheckpoint } from "./support/seeded_checkpoint.ts";

const { device, traits, adapter } = await hardwareGpu();
const halves = new Gpu(device, device.adapterInfo, { ...traits, halfOperands: true });
const ignore = !traits.f16;
if (ignore) console.warn(`${adapter.name} has no shader-f16: operands in f16 are not tested`);

/** What a product that holds `value` multiplied by ones makes of it, on average. */
async function throughProduct(gpu: Gpu, value: number): Promise<number> {
  const graph = new Graph();
  const [G, W] = [graph.weight("G", [64, 64], false), graph.weight("W", [64, 64], false)];
  const values: Values = new Map([
    ["G", new Float64Array(64 * 64).fill(value)],
    ["W", new Float64Array(64 * 64).fill(1)],
  ]);
  const [product] = await runOnGpu(gpu, [matmul(G, W)], values);
  return product[0] / 64;
}

/** A dense product in each layout, one with a low-rank term. */
function products(graph: Graph): Tensor[] {
  const [m, n, k, r] = [70, 132, 44, 8];
  const weight = (name: string, ...shape: number[]) => graph.weight(name, shape, false);
  const [x, W, G, bias] = [weight("x", m, k), weight("W", n, k), weight("G", m, n), weight("bias", n)];
  const base = matmul(x, W, { transposeB: true, bias });
  const term = matmul(weight("v", m, r), weight("B", n, r), { transposeB: true, scale: 0.5, residual: base });
  return [term, matmul(G, W), matmul(G, x, { transposeA: true, scale: 2 })];
}

Deno.test({
  name: "operands that are halves give the bits of f32, others those of their halves, summed in f32",
  ignore,
  fn: async () => {
    const graph = new Graph();
    const outputs = products(graph);
    const values: Values = new Map();
    fillSources(graph, values);
    const whole = await hardwareGpu();
    const inHalves = await runOnGpu(halves, outputs, values);
    const expected = interpret(outputs, values);
    for (const [i, own] of inHalves.entries()) {
      const error = relativeError(own, expected[i]);
      assert.ok(error > 1e-6 && error < 2e-3, `output ${i}: relative error ${error}`);
    }
    for (const [name, own] of values) {
      // The bias is added in f32.
      if (name !== "bias") values.set(name, own.map((value) => Math.f16round(value)));
    }
    assert.deepEqual(await runOnGpu(halves, outputs, values), await runOnGpu(whole, outputs, values));
  },
});

Deno.test({
  name: "the losses of 100 steps with operands in f16 are those of f32 to a hundredth",
  ignore,
  fn: () =>
    withFolder(async (folder) => {
      const [{ config }] = Object.values(cases);
      await writeCheckpoint(folder, config);
      const model = await loadEncoder(folder);
      const objective = classification.of(model, { texts: 1, classes: 2 });
      const examples = [[1, 5, 6, 2], [1, 7, 8, 9, 2], [1, 10, 2], [1, 11, 12, 13, 14, 2]]
        .map((ids, i) => ({ texts: [ids], label: i % 2 }));
      const lossesOn = async (gpu: Gpu) => {
        const attached = attach(model, bora, {
          r: 4,
          blocks: 4,
          target: ["query", "value", "intermediate.dense", "output.dense"],
        });
        const options = { learningRate: 3e-3, epochs: 100, batchSize: 4, warmupRatio: 0, seed: 0 };
        using trainer = new Trainer({ gpu, model, adapter: attached, objective, examples, ...options });
        const losses = [];
        for (let epoch = 0; epoch < 100; epoch++) {
          losses.push(...(await trainer.epoch()).map(({ loss }) => loss));
        }
        return losses;
      };
      const [whole, half] = [await lossesOn(await hardwareGpu()), await lossesOn(halves)];
      assert.equal(half.length, 100);
      assert.notDeepEqual(half, whole);
      const most = Math.max(...half.map((loss, i) => Math.abs(loss - whole[i])));
      assert.ok(most < 1e-2, `off by ${most}`);
      assert.ok(whole[99] < whole[0] / 2, `${whole[0]} to ${whole[99]}`);
    }),
});

Deno.test({
  name: "operands below 3e-8 become 0 as halves, and not in f32",
  ignore,
  fn: async () => {
    assert.equal(await throughProduct(halves, 2.9e-8), 0);
    assert.ok(Math.abs(await throughProduct(await hardwareGpu(), 2.9e-8) / 2.9e-8 - 1) < 1e-6);
  },
});

Deno.test("with operands in f16, no kernel that rounds otherwise than the default is offered", () => {
  for (const subgroupSize of [0, 8, 32]) {
    for (const [n, k, isRounded] of [[512, 16, true], [8, 13, false]] as const) {
      const graph = new Graph();
      const { node } = matmul(graph.weight("x", [512, k], false), graph.weight("W", [k, n], false));
      const device = { ...traits, subgroupSize, software: false, halfOperands: true };
      const names = node.op!.variants!(node, device).candidates.map(({ name }) => name);
      assert.deepEqual(
        names.filter((name) => name.endsWith("f16 operands") !== isRounded),
        [],
        `${subgroupSize} lanes`,
      );
      assert.ok(names.length > (isRounded ? 2 : 0));
    }
  }
});

Deno.test("operands that there are not are refused, and not f32", () =>
  assert.rejects(
    () => openGpu({ device, operands: "F16" as "f16", autotune: false }),
    /^Error: operands is "F16": use "f32" or "f16"$/,
  ));

Deno.test("a device without shader-f16 refuses operands in f16 by name", async () => {
  const features = new Set([...device.features].filter((name) => name !== "shader-f16"));
  const without = new Proxy(device, {
    get: (own, key) => key === "features" ? features : Reflect.get(own, key, own),
  });
  await assert.rejects(
    () => openGpu({ device: without, operands: "f16", autotune: false }),
    new RegExp(`has no shader-f16, which operands in f16 want`),
  );
});
