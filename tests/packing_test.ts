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
import { lookup } from "../lib/graph/ops/lookup.ts";
import { linear } from "../lib/graph/ops/product/product.ts";
import { groupSize } from "../lib/graph/storages/integers.ts";
import { alignedBlocks } from "../lib/graph/storages/q8_0.ts";
import { packedStorage, type Packing, packings } from "../lib/graph/storages/registry.ts";
import { type Model, scalesOf, type Weight } from "../lib/models/model.ts";
import { pack, packModel, unpack } from "../lib/models/packing.ts";
import { classification } from "../lib/objectives/classification.ts";
import type { Encoded } from "../lib/objectives/objective.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { AdaptedModel } from "../lib/train/adapted_model.ts";
import { Trainer, type TrainOptions } from "../lib/train/trainer.ts";
import {
  fillSources,
  randomValues,
  relativeError,
  scalarOf,
  type Values,
} from "../tasks/conformance/op_errors.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { testGpu } from "./support/ops.ts";

/** The device as it is, without subgroups, and as a GPU. */
function devicesOf(gpu: Gpu): Gpu[] {
  const info = gpu.device.adapterInfo;
  return [gpu, new Gpu(gpu.device, info), new Gpu(gpu.device, info, { ...gpu.traits, software: false })];
}

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
      const half = {
        f16: Math.abs(value) * 2 ** -11,
        int8: top / 254,
        int4: top / 14,
        // In blocks of 32, whose scale is rounded to f16 as well.
        q8_0: top * (1 / 254 + 2 ** -11),
      };
      assert.ok(Math.abs(values.data[i] - value) <= half[packing] * 1.0001, `${packing} ${i}`);
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
  const { scaleEvery } = packedStorage(packing);
  const scales = scaleEvery ? graph.weight(scalesOf("W"), [m * n / scaleEvery], false) : undefined;
  const sources = [weight("x", [rows, n]), weight("bias", [m]), weight("residual", [rows, m])];
  const [x, bias, residual] = sources;
  const y = linear(x, { values, scales }, { bias, residual });
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
  compiled.upload(Object.fromEntries(
    [...values].map((
      [name, data],
    ) => [name, name === "index" ? Uint32Array.from(data) : Float32Array.from(data)]),
  ));
  compiled.run();
  const results = [];
  for (const tensor of outputs) results.push(await compiled.read(tensor));
  return results;
}

for (const packing of packings) {
  // The third fills no tile, and is large enough for the kernel for subgroups in both directions.
  for (const [rows, m, n] of [[1, 16, 4], [5, 12, 64], [37, 100, 144], [70, 160, 36], [37, 100, 160]]) {
    if (packedStorage(packing).refusal([m, n])) continue;
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
      for (const device of devicesOf(gpu)) {
        const actual = await packedOnGpu(device, outputs, values, packed);
        outputs.forEach((_, i) => assert.ok(relativeError(actual[i], expected[i]) < 2e-5, `output ${i}`));
      }
    });
  }
}

for (const packing of packings) {
  Deno.test(`${packing} table: rows are looked up as the values that they stand for, onto others and in parts`, async () => {
    const packed = pack("W", randomWeight([12, 96]), packing);
    const graph = new Graph();
    const { scaleEvery } = packedStorage(packing);
    const table = {
      values: graph.weight("W", [12, 96], false, packing),
      scales: scaleEvery ? graph.weight(scalesOf("W"), [12 * 96 / scaleEvery], false) : undefined,
    };
    const index = graph.input("index", [2, 4], "u32");
    const onto = graph.weight("onto", [8, 96], true);
    const all = lookup(index, table);
    // The table's rows belong to the indices from 3 on, so 0 and 2 have none.
    const part = lookup(index, table, { firstRow: 3, onto });
    const outputs = [all, part, ...grad([scalarOf(graph, part)], [onto])];
    const ids = [9, 0, 3, 3, 2, 8, 7, 5];
    const values: Values = new Map([["index", Float64Array.from(ids)], [
      "onto",
      randomValues("onto", 8 * 96),
    ]]);
    fillSources(graph, values);
    values.set("W", Float64Array.from(unpack(packed).data));
    const expected = interpret(outputs, values);
    assert.deepEqual([...expected[0].subarray(0, 96)], [...values.get("W")!.subarray(9 * 96, 10 * 96)]);
    const given = new Map([...values].filter(([name]) => !name.startsWith("W")));
    const gpu = await testGpu();
    for (const device of devicesOf(gpu)) {
      const actual = await packedOnGpu(device, outputs, given, packed);
      outputs.forEach((_, i) => assert.ok(relativeError(actual[i], expected[i]) < 1e-6, `output ${i}`));
    }
  });
}

Deno.test("tables that cannot be looked up, and scales that do not fit, are refused", () => {
  const graph = new Graph();
  const index = graph.input("index", [1, 4], "u32");
  const int8 = graph.weight("int8", [4, 64], false, "int8");
  const panels = graph.weight("panels", [4, 64], false, "f32 in panels");
  const odd = graph.weight("odd", [4, 36], false, "q8_0");
  assert.throws(() => lookup(index, { values: int8 }), /\[4, 64\] int8 wants 4 scales/);
  assert.throws(() => lookup(index, panels), /its rows do not lie in one piece/);
  assert.throws(() => lookup(index, odd), /\[4, 36\] q8_0: wants rows of 32 values at a time/);
  const x = graph.weight("x", [2, 64], false);
  assert.throws(() => linear(graph.weight("y", [2, 36], false), odd), /wants rows of 32 values at a time/);
  assert.throws(() => linear(x, int8), /\[4, 64\] int8 wants scales/);
  const scales = graph.weight("scales", [3], false);
  assert.throws(() => linear(x, { values: int8, scales }), /wants 4 scales, one for each 64 values/);
  const whole = graph.weight("whole", [4, 64], false, "q8_0");
  assert.throws(() => linear(x, { values: whole, scales }), /q8_0 has no scales in a buffer of their own/);
});

interface Q8Reference {
  readonly columns: number;
  readonly values: readonly number[];
  /** The file's bytes, in hexadecimal digits. */
  readonly blocks: string;
  readonly dequantised: readonly number[];
}

Deno.test("q8_0: blocks and values are those of the Python package gguf", async () => {
  const path = new URL("fixtures/q8_0_reference.json", import.meta.url);
  const cases: Readonly<Record<string, Q8Reference>> = JSON.parse(await Deno.readTextFile(path));
  for (const [name, { columns, values, blocks, dequantised }] of Object.entries(cases)) {
    const words = alignedBlocks(Uint8Array.fromHex(blocks));
    const shape = [values.length / columns, columns];
    const packed = pack("W", { shape, data: Float32Array.from(values) }, "q8_0");
    assert.deepEqual(packed.words, words, name);
    assert.deepEqual([...unpack(packed).data], dequantised, name);
  }
  assert.equal(Object.keys(cases).length, 3);
});

const objective = (model: Model) => classification.of(model, { texts: 1, classes: 2 });
const options: TrainOptions = { learningRate: 1e-2, epochs: 2, batchSize: 4, warmupRatio: 0, seed: 1 };
const examples: Encoded[] = Array.from({ length: 12 }, (_, i) => ({
  label: i % 2,
  texts: [Array.from({ length: 1 + (i * 3) % 12 }, (_, j) => (i % 2 * 5 + j) % 11)],
}));

Deno.test("training on a packed base is training on the values that it stands for", async () => {
  const gpu = await testGpu();
  const model = tinyEncoder();
  for (const packing of ["f16", "int8", "int4"] as const) {
    const packed = packModel(model, packing);
    const rounded = new Map([...packed.packed!].map(([name, entry]) => [name, unpack(entry)]));
    const dense = { ...model, weights: new Map([...model.weights, ...rounded]) };
    const run = async (own: typeof model) => {
      const adapter = attach(own, bora, { r: 2, blocks: 4, target: ["query", "ffn_in"] });
      using trainer = new Trainer({
        gpu,
        model: own,
        adapter,
        objective: objective(model),
        examples,
        ...options,
      });
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
    assert.deepEqual(flat(await adapted.predict(objective(model), examples)), flat(a.predictions));
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
      using trainer = new Trainer({
        gpu: await testGpu(),
        model: packed,
        adapter,
        objective: objective(packed),
        examples,
        ...options,
      });
      await trainer.epoch();
    };
    await assert.rejects(run, /query\.weight" is packed as int8|starts from its layer's weight/, name);
  }
});
