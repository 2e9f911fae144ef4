/** Packed weights: their rounding errors, the products that unpack them, and adapters trained on them. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { methodByName } from "../lib/adapters/registry.ts";
import { Gpu } from "../lib/gpu/device.ts";
import { compile } from "../lib/graph/compile.ts";
import { grad } from "../lib/graph/grad.ts";
import { Graph, type Tensor } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { groupSize, packedLinear } from "../lib/graph/ops/packed_linear.ts";
import { scalesOf, type Weight } from "../lib/models/model.ts";
import { pack, type Packing, packModel, unpack } from "../lib/models/packing.ts";
import { AdaptedModel } from "../lib/train/adapted_model.ts";
import type { Encoded } from "../lib/train/batches.ts";
import type { HeadShape } from "../lib/train/step.ts";
import { Trainer, type TrainOptions } from "../lib/train/trainer.ts";
import { FrozenWeights } from "../lib/train/weights.ts";
import { testGpu } from "./support/ops.ts";
import { randomValues, relativeError, scalarOf, type Values } from "../tasks/conformance/op_errors.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";

const packings = ["f16", "int8", "int4"] as const;

function randomWeight(shape: readonly number[]): Weight {
  const size = shape.reduce((product, extent) => product * extent, 1);
  return { shape, data: Float32Array.from(randomValues("W", size)) };
}

Deno.test("a packed weight is off by at most half a step of its group, and packing again changes nothing", () => {
  const weight = randomWeight([12, 64]);
  weight.data[70] = -5;
  weight.data.fill(0, 128, 192);
  for (const packing of packings) {
    const packed = pack("W", weight, packing);
    const values = unpack(packed);
    weight.data.forEach((value, i) => {
      const group = weight.data.subarray(Math.floor(i / groupSize) * groupSize).subarray(0, groupSize);
      const top = Math.max(...group.map(Math.abs));
      const bound = packing === "f16" ? Math.abs(value) * 2 ** -11 : top / (packing === "int8" ? 254 : 14);
      assert.ok(Math.abs(values.data[i] - value) <= bound * 1.0001, `${packing} ${i}`);
    });
    assert.deepEqual(unpack(pack("W", values, packing)).data, values.data);
  }
  assert.equal(pack("W", weight, "int4").words.byteLength, weight.data.byteLength / 8);
});

Deno.test("what cannot be packed is refused by name", () => {
  assert.throws(
    () => pack("odd", randomWeight([6, 64]), "int8"),
    /"odd" is \[6,64\]: packing wants a matrix/,
  );
  assert.throws(() => pack("small", randomWeight([4, 4]), "int4"), /"small" is \[4,4\]/);
  const large = randomWeight([4, 64]);
  large.data[3] = 1e5;
  assert.throws(
    () => pack("large", large, "f16"),
    /"large" holds values beyond f16's 65504: pack it as int8/,
  );
});

/** x Wᵀ + bias + residual and its gradients by x, bias and residual, with W packed. */
function traced(rows: number, [m, n]: readonly number[], packing: Packing) {
  const graph = new Graph();
  const weight = (name: string, shape: readonly number[]) => graph.weight(name, shape, true);
  const values = graph.weight("W", [m, n], false, packing);
  const scales = packing === "f16" ? undefined : graph.weight(scalesOf("W"), [m * n / groupSize], false);
  const sources = [weight("x", [rows, n]), weight("bias", [m]), weight("residual", [rows, m])];
  const [x, bias, residual] = sources;
  const y = packedLinear(x, { values, scales }, { bias, residual });
  return { graph, outputs: [y, ...grad([scalarOf(graph, y)], sources)] };
}

async function packedOnGpu(
  gpu: Gpu,
  outputs: readonly Tensor[],
  values: Values,
  packed: ReturnType<typeof pack>,
) {
  using frozen = new FrozenWeights(gpu, [
    ["W", { data: packed.words }],
    ...packed.scales ? [[scalesOf("W"), { data: packed.scales }] as const] : [],
    ...[...values].map(([name, data]) => [name, { data: Float32Array.from(data) }] as const),
  ]);
  using compiled = await compile(gpu, outputs, { label: "packed", weights: (name) => frozen.view(name)! });
  for (const [name, { buffer }] of compiled.inputs) gpu.upload(buffer, Float32Array.from(values.get(name)!));
  compiled.program.replay();
  const results = [];
  for (const tensor of outputs) {
    const { buffer, offset, bytes } = compiled.view(tensor);
    results.push(new Float32Array(await gpu.read(buffer, bytes, offset)));
  }
  return results;
}

for (const packing of packings) {
  // The second fills no tile, and is large enough for the kernel for subgroups in both directions.
  for (const [rows, m, n] of [[1, 16, 4], [5, 12, 64], [37, 100, 144], [70, 160, 36]]) {
    Deno.test(`${packing} product, ${rows}×${m}×${n}: forward and gradients, on both kernels`, async () => {
      const packed = pack("W", randomWeight([m, n]), packing);
      const { graph, outputs } = traced(rows, [m, n], packing);
      const values: Values = new Map();
      for (const { source, name, outputs: [{ shape }] } of graph.nodes) {
        if (!source || name.startsWith("W")) continue;
        const size = shape.reduce((product, extent) => product * extent, 1);
        values.set(name, name === "probe weight" ? new Float64Array(size).fill(1) : randomValues(name, size));
      }
      const W = Float64Array.from(unpack(packed).data);
      const ones = new Float64Array(m * n / groupSize).fill(1);
      const expected = interpret(outputs, new Map([...values, ["W", W], [scalesOf("W"), ones]]));
      const gpu = await testGpu();
      for (const device of [gpu, new Gpu(gpu.device, gpu.device.adapterInfo)]) {
        const actual = await packedOnGpu(device, outputs, values, packed);
        outputs.forEach((_, i) => assert.ok(relativeError(actual[i], expected[i]) < 2e-5, `output ${i}`));
      }
    });
  }
}

const head: HeadShape = { shape: "single", objective: "classification", texts: 1, outputs: 2 };
const options: TrainOptions = { learningRate: 1e-2, epochs: 2, batchSize: 4, warmupRatio: 0, seed: 1 };
const examples: Encoded[] = Array.from({ length: 12 }, (_, i) => ({
  label: i % 2,
  texts: [Array.from({ length: 1 + (i * 3) % 12 }, (_, j) => (i % 2 * 5 + j) % 11)],
}));

Deno.test("training on a packed base is training on the values that it stands for", async () => {
  const gpu = await testGpu();
  const model = tinyEncoder();
  for (const packing of packings) {
    const packed = packModel(model, packing);
    const rounded = new Map([...packed.packed!].map(([name, entry]) => [name, unpack(entry)]));
    const dense = { ...model, weights: new Map([...model.weights, ...rounded]) };
    const run = async (own: typeof model) => {
      const adapter = attach(own, bora, { r: 2, blocks: 4, target: ["query", "ffn_in"] });
      using trainer = new Trainer(gpu, own, adapter, head, examples, options);
      const losses = [...await trainer.epoch(), ...await trainer.epoch()].map(({ loss }) => loss);
      return {
        losses,
        weights: await trainer.weights(),
        predictions: await trainer.predict(examples),
        adapter,
      };
    };
    const [a, b] = [await run(packed), await run(dense)];
    assert.ok(relativeError(a.losses, b.losses) < 1e-5, packing);
    const flat = (rows: readonly Float32Array[]) => rows.flatMap((row) => [...row]);
    assert.ok(relativeError(flat(a.predictions), flat(b.predictions)) < 1e-4, packing);
    using adapted = new AdaptedModel(gpu, packed);
    adapted.add("mine", a.adapter, a.weights);
    assert.deepEqual(flat(await adapted.predict(head, examples)), flat(a.predictions));
    await assert.rejects(
      () => adapted.merge(),
      /"query\.weight" is packed as .*use the model that is not packed/,
    );
  }
});

Deno.test("methods that need the base's values say so of a packed one", async () => {
  const packed = packModel(tinyEncoder(), "int8");
  for (const name of ["Full fine-tuning", "ReLoRA"]) {
    assert.throws(
      () => attach(packed, methodByName(name), { target: ["query"] }),
      /changes the base's weights, and tiny's are packed/,
    );
  }
  assert.throws(
    () => attach(packed, bora, { r: 2, blocks: 4, target: ["query"], modulesToSave: ["ffn.in"] }),
    /"ffn\.in\.weight" is packed and cannot be trained: take "ffn\.in" out of modulesToSave/,
  );
  for (const name of ["HiRA", "DoRA"]) {
    const run = async () => {
      const adapter = attach(packed, methodByName(name), { target: ["query"] });
      using trainer = new Trainer(await testGpu(), packed, adapter, head, examples, options);
      await trainer.epoch();
    };
    await assert.rejects(run, /query\.weight" is packed as int8|starts from its layer's weight/, name);
  }
});
