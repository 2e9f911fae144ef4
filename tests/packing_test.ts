/** Packed weights: their rounding errors, the products that unpack them, and adapters trained on them. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { methodByName } from "../lib/adapters/registry.ts";
import { startingWeights } from "../lib/adapters/starting_weights.ts";
import { Gpu } from "../lib/gpu/device.ts";
import { compile } from "../lib/graph/compile.ts";
import { grad } from "../lib/graph/grad.ts";
import { Graph, type Tensor } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { lookup } from "../lib/graph/ops/lookup.ts";
import { linear } from "../lib/graph/ops/product/product.ts";
import { groupSize } from "../lib/graph/storages/integers.ts";
import {
  packedStorage,
  type Packing,
  packings,
  storedPackings,
  type WritablePacking,
} from "../lib/graph/storages/registry.ts";
import { type Model, scalesOf } from "../lib/models/model.ts";
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
import { isWritable, randomPacked, randomWeight, readBlocksReference } from "./support/packed_weights.ts";

/** The device as it is, without subgroups, and as a GPU. */
function devicesOf(gpu: Gpu): Gpu[] {
  const info = gpu.device.adapterInfo;
  return [gpu, new Gpu(gpu.device, info), new Gpu(gpu.device, info, { ...gpu.traits, software: false })];
}

/**
 * The largest error of `value` among values of magnitude `top` that span `range`: half a step, a whole one where the value
 * opposite to the largest has no integer of its own, and what the rounding of scales to f16 adds.
 */
const errorOf: Readonly<Record<WritablePacking, (value: number, top: number, range: number) => number>> = {
  f16: (value) => Math.abs(value) * 2 ** -11,
  bf16: (value) => Math.abs(value) * 2 ** -8,
  int8: (_, top) => top / 254,
  int4: (_, top) => top / 14,
  q4_0: (_, top) => top * (1 / 8 + 2 ** -11),
  q4_1: (_, top, range) => range / 30 + 2 * top * 2 ** -11 + range * 2 ** -11,
  q5_0: (_, top) => top * (1 / 16 + 2 ** -11),
  q5_1: (_, top, range) => range / 62 + 2 * top * 2 ** -11 + range * 2 ** -11,
  q8_0: (_, top) => top * (1 / 254 + 2 ** -11),
};

Deno.test("a packed weight is off by at most half a step of its group, and packing again changes nothing", () => {
  const weight = randomWeight([12, 64]);
  weight.data[70] = -5;
  weight.data.fill(0, 128, 192);
  for (const packing of packings) {
    const values = unpack(pack("W", weight, packing));
    const size = packing.startsWith("q") ? 32 : groupSize;
    weight.data.forEach((value, i) => {
      const group = weight.data.subarray(Math.floor(i / size) * size).subarray(0, size);
      const [least, largest] = [Math.min(...group), Math.max(...group)];
      const most = errorOf[packing](value, Math.max(-least, largest), largest - least);
      assert.ok(Math.abs(values.data[i] - value) <= most * 1.0001, `${packing} ${i}`);
    });
    assert.deepEqual(unpack(pack("W", values, packing)).data, values.data, packing);
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
  large.data[3] = 3.4e38;
  assert.throws(() => pack("large", large, "bf16"), /"large" holds values beyond bf16's 3.3895e38/);
  for (const packing of ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0"] as const) {
    assert.throws(
      () => pack("large", large, packing),
      /"large" holds values whose scale is beyond f16's 65504/,
    );
    assert.throws(
      () => pack("odd", randomWeight([4, 48]), packing),
      /"odd" is \[4,48\]: wants rows of 32 values/,
    );
  }
  for (const packing of packings) {
    for (const value of [NaN, Infinity, -Infinity]) {
      const broken = randomWeight([4, 64]);
      broken.data[5] = value;
      assert.throws(() => pack("broken", broken, packing), /"broken" holds values that are not finite/);
    }
  }
  for (const packing of ["q4_k", "int3", "toString"]) {
    assert.throws(
      () => packModel(tinyEncoder(), packing as WritablePacking),
      new RegExp(`weights cannot be packed into ${packing}; use one of f16, bf16, int8`),
    );
  }
  assert.throws(() => packModel(packModel(tinyEncoder(), "f16"), "f16"), /tiny is packed already/);
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

/**
 * The first ones are of a token or two. The fourth is of few rows, on GPUs in two stages by x. The fifth fills no tile, and is large enough for the
 * kernel for subgroups in both directions.
 */
const products = [[1, 16, 4], [1, 132, 64], [2, 100, 96], [5, 132, 64], [37, 100, 144], [70, 160, 36], [
  37,
  100,
  160,
]];

/** For storages that take none of those. */
const longRows = [[1, 132, 256], [2, 100, 512], [5, 132, 512], [37, 100, 256]];

for (const packing of storedPackings) {
  for (const [rows, m, n] of packing.endsWith("_k") ? longRows : products) {
    if (packedStorage(packing).refusal([m, n])) continue;
    Deno.test(`${packing} product, ${rows}×${m}×${n}: forward and gradients, on both kernels`, async () => {
      const packed = randomPacked([m, n], packing);
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

for (const packing of storedPackings) {
  Deno.test(`${packing} table: rows are looked up as the values that they stand for, onto others and in parts`, async () => {
    const width = packing.endsWith("_k") ? 512 : 96;
    const packed = randomPacked([12, width], packing);
    const graph = new Graph();
    const { scaleEvery } = packedStorage(packing);
    const table = {
      values: graph.weight("W", [12, width], false, packing),
      scales: scaleEvery ? graph.weight(scalesOf("W"), [12 * width / scaleEvery], false) : undefined,
    };
    const index = graph.input("index", [2, 4], "u32");
    const onto = graph.weight("onto", [8, width], true);
    const all = lookup(index, table);
    // The table's rows belong to the indices from 3 on, so 0 and 2 have none.
    const part = lookup(index, table, { firstRow: 3, onto });
    const outputs = [all, part, ...grad([scalarOf(graph, part)], [onto])];
    const ids = [9, 0, 3, 3, 2, 8, 7, 5];
    const values: Values = new Map([["index", Float64Array.from(ids)], [
      "onto",
      randomValues("onto", 8 * width),
    ]]);
    fillSources(graph, values);
    values.set("W", Float64Array.from(unpack(packed).data));
    const expected = interpret(outputs, values);
    const ninth = values.get("W")!.subarray(9 * width, 10 * width);
    // A value of −0 is added to 0.
    assert.deepEqual([...expected[0].subarray(0, width)], [...ninth].map((value) => value + 0));
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

Deno.test("GGUF's blocks have the values, and values the blocks, of the Python package gguf", () => {
  const reference = readBlocksReference();
  for (const [type, { blocks, values, packed }] of reference) {
    const packing = type.toLowerCase() as Packing;
    const { unpack, bits } = packedStorage(packing);
    const inFile = packedStorage(packing).inFile!;
    assert.ok(inFile.isFinite(blocks), type);
    const words = new Uint32Array(values.length * bits / 32);
    inFile.aligned(blocks, words);
    assertSameBits(unpack({ words }), values, type);
    // At an odd byte, as a piece of a larger buffer may be.
    const moved = new Uint8Array([0, ...blocks]).subarray(1);
    assertSameBits(inFile.decode(moved, new Float32Array(values.length)), values, type);
    if (!packed) continue;
    assert.ok(isWritable(packing));
    const shape = [packed.values.length / 32, 32];
    const made = pack("W", { shape, data: packed.values }, packing).words;
    const expected = new Uint32Array(made.length).fill(7);
    inFile.aligned(packed.blocks, expected);
    assert.deepEqual(made, expected, type);
  }
  const inFiles = storedPackings.filter((packing) => packedStorage(packing).inFile);
  assert.deepEqual(inFiles.filter((packing) => !reference.has(packing.toUpperCase())), ["f16"]);
});

function assertSameBits(
  actual: Float32Array<ArrayBuffer>,
  expected: Float32Array<ArrayBuffer>,
  name: string,
) {
  assert.deepEqual(new Uint32Array(actual.buffer), new Uint32Array(expected.buffer), name);
}

Deno.test("blocks with a scale that is not finite are told", () => {
  for (const [type, { blocks }] of readBlocksReference()) {
    const { bytes, isFinite } = packedStorage(type.toLowerCase() as Packing).inFile!;
    const scales = type === "Q6_K" ? [208] : /_[1K]$/.test(type) ? [0, 2] : [0];
    for (const scale of scales) {
      const broken = blocks.slice();
      // NaN, in the second block; in BF16 as well.
      broken.set([0xff, 0xff], bytes + scale);
      assert.ok(!isFinite(broken), `${type} ${scale}`);
    }
  }
});

Deno.test("a packed matrix of rows that are no multiple of 4 is multiplied, and refused where its rows are summed", () => {
  const graph = new Graph();
  const [x, w] = [graph.weight("x", [2, 64], true), graph.weight("W", [6, 64], false, "q4_0")];
  const y = linear(x, w);
  assert.deepEqual(y.shape, [2, 6]);
  assert.throws(() => grad([scalarOf(graph, y)], [x]), /\[6, 64\] q4_0: wants rows in multiples of 4 where/);
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

Deno.test("adapters that were attached to the model before it was packed say so where they need its values", async () => {
  const [gpu, model] = [await testGpu(), tinyEncoder()];
  const packed = packModel(model, "int8");
  for (
    const [name, message] of [
      ["Full fine-tuning", /Full fine-tuning changes the base's weights, and tiny's are packed/],
      ["ReLoRA", /ReLoRA changes the base's weights, and tiny's are packed/],
      ["DoRA", /DoRA computes with the base's weights, and "query\.weight" is packed as int8/],
    ] as const
  ) {
    const adapter = attach(model, methodByName(name), { target: ["query"] });
    const parts = { gpu, model: packed, adapter, objective: objective(packed), examples };
    assert.throws(() => new Trainer({ ...parts, ...options }), message);
    using adapted = new AdaptedModel(gpu, packed);
    assert.throws(() => adapted.add("it", adapter, startingWeights(model, adapter, 0)), message);
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
