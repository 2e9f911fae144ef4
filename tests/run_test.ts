/** The runtime: programs that keep states, and predictions that keep their programs. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { headOnly } from "../lib/adapters/base_only.ts";
import { lora } from "../lib/adapters/lora.ts";
import { startingWeights } from "../lib/adapters/starting_weights.ts";
import { type Gpu, openGpu } from "../lib/gpu/device.ts";
import { Arena, compile } from "../lib/graph/compile.ts";
import { Graph, type Tensor } from "../lib/graph/graph.ts";
import { interpretRun } from "../lib/graph/interpret.ts";
import { add, multiply } from "../lib/graph/ops/binary.ts";
import { classification } from "../lib/objectives/classification.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { Kept } from "../lib/run/kept.ts";
import { Predictor } from "../lib/run/predictor.ts";
import { States } from "../lib/run/states.ts";
import { WeightStore } from "../lib/run/weight_store.ts";
import { AdaptedModel } from "../lib/train/adapted_model.ts";
import { allStartingWeights } from "../lib/train/trained_tensors.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { testGpu } from "./support/ops.ts";

/** Programs with a state s and an input x: what s becomes, and what is read. */
const stateful: Readonly<
  Record<string, (s: Tensor, x: Tensor) => { readonly after: Tensor; readonly out: Tensor }>
> = {
  "s + x over s itself": (s, x) => {
    const after = add(s, x);
    return { after, out: multiply(after, x) };
  },
  "s + x, while s is still read": (s, x) => {
    const after = add(s, x);
    return { after, out: multiply(after, s) };
  },
  "x itself": (s, x) => ({ after: x, out: add(s, x) }),
  "s·s": (s, x) => {
    const after = multiply(add(s, x), add(s, x));
    return { after, out: add(s, x) };
  },
};

for (const [name, trace] of Object.entries(stateful)) {
  Deno.test(`a state is what a run leaves: ${name}, three runs as in float64`, async () => {
    const gpu = await testGpu();
    const graph = new Graph();
    const [s, x] = [graph.state("s", [5]), graph.input("x", [5])];
    const { after, out } = trace(s, x);
    graph.update(s, after);
    using states = new States(gpu, [["s", 20]]);
    using compiled = await compile(gpu, [out], { label: "state", weights: (name) => states.view(name)! });
    let expected = new Map<string, Float64Array>();
    const round = async (turn: number) => {
      const values = Float32Array.from({ length: 5 }, (_, i) => i + turn - 2);
      const run = interpretRun([out], new Map([...expected, ["x", Float64Array.from(values)]]));
      expected = run.states;
      compiled.upload({ x: values });
      compiled.run();
      assert.deepEqual([...await compiled.read(out)], [...run.values[0]], `turn ${turn}`);
    };
    for (const turn of [0, 1, 2]) await round(turn);
    const { buffer } = states.view("s")!;
    assert.deepEqual([...new Float32Array(await gpu.read(buffer, 20))], [...expected.get("s")!]);
    states.clear();
    expected = new Map();
    await round(1);
  });
}

Deno.test("an update that can be written over its state takes no memory of its own", async () => {
  const gpu = await testGpu();
  const graph = new Graph();
  const [s, x] = [graph.state("s", [64]), graph.input("x", [64])];
  graph.update(s, add(s, x));
  using states = new States(gpu, [["s", 256]]);
  const [after] = graph.updates.values();
  using compiled = await compile(gpu, [after], { label: "state", weights: (name) => states.view(name)! });
  assert.equal(compiled.view(after).buffer, states.view("s")!.buffer);
  assert.equal(compiled.plan.peakBytes, 0);
});

Deno.test("a state becomes one value of its own shape", () => {
  const graph = new Graph();
  const [s, x, y] = [graph.state("s", [2]), graph.input("x", [2]), graph.input("y", [3])];
  assert.throws(() => graph.update(s, y), /"s", a state \[2\] f32, cannot become \[3\] f32/);
  assert.throws(() => graph.update(x, x), /"x", a input \[2\] f32, cannot become/);
  graph.update(s, x);
  assert.throws(() => graph.update(s, x), /it is updated already/);
});

Deno.test("what is kept is what was used last; what is dropped is disposed of", async () => {
  const log: string[] = [];
  const make = (key: string) => () => {
    log.push(`make ${key}`);
    return Promise.resolve({ [Symbol.dispose]: () => void log.push(`drop ${key}`) });
  };
  {
    using kept = new Kept(2);
    for (const key of ["a", "b", "a", "c", "a", "b"]) await kept.get(key, make(key));
  }
  assert.deepEqual(log, ["make a", "make b", "make c", "drop b", "make b", "drop c", "drop a", "drop b"]);
});

/** Counts calls of the device's functions that make something. */
function counted(gpu: Gpu): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of ["createBuffer", "createBindGroup", "createComputePipelineAsync"] as const) {
    const original = gpu.device[name].bind(gpu.device) as (...args: unknown[]) => unknown;
    Object.defineProperty(gpu.device, name, {
      configurable: true,
      value: (...args: unknown[]) => {
        const isStaging = name === "createBuffer" &&
          ((args[0] as GPUBufferDescriptor).usage & GPUBufferUsage.MAP_READ) !== 0;
        const key = isStaging ? "staging" : name;
        counts.set(key, (counts.get(key) ?? 0) + 1);
        return original(...args);
      },
    });
  }
  return counts;
}

const examplesOf = (lengths: readonly number[]) =>
  lengths.map((length, i) => ({
    texts: [Array.from({ length }, (_, j) => (i + j) % 11)],
    label: 0,
  }));

Deno.test("ten predictions of equal shape make no buffer but the one they are read through, and no bind group, after the first", async () => {
  using gpu = await openGpu();
  const model = tinyEncoder();
  const objective = classification.of(model, { texts: 1, classes: 2 });
  const adapter = attach(model, lora, { r: 2, target: ["query"] });
  using adapted = new AdaptedModel(gpu, model);
  adapted.add("it", adapter, allStartingWeights(model, adapter, objective, 0));
  const examples = examplesOf([3, 9, 12, 5]);
  const first = await adapted.predict(objective, examples);
  const counts = counted(gpu);
  for (let i = 0; i < 10; i++) assert.deepEqual(await adapted.predict(objective, examples), first);
  assert.deepEqual(Object.fromEntries(counts), { staging: 10 });
  const together = await Promise.all([
    adapted.predict(objective, examples),
    adapted.predict(objective, examples),
  ]);
  assert.deepEqual(together, [first, first]);
});

Deno.test("an adapter that is deleted, merged or exchanged leaves nothing on the GPU and no prediction of its own", async () => {
  const gpu = await testGpu();
  const model = tinyEncoder();
  const objective = classification.of(model, { texts: 1, classes: 2 });
  const adapter = attach(model, lora, { r: 2, target: ["query"] });
  const trained = (fill: number) => {
    const start = allStartingWeights(model, adapter, objective, 0);
    const filled = [...startingWeights(model, adapter, 0)].map(([name, { shape, data }]) =>
      [name, { shape, data: new Float32Array(data.length).fill(fill) }] as const
    );
    return new Map([...start, ...filled]);
  };
  const examples = examplesOf([3, 9]);
  using adapted = new AdaptedModel(gpu, model);
  adapted.add("it", adapter, trained(0.2));
  const before = gpu.memory.buffers;
  const own = await adapted.predict(objective, examples);
  const ready = gpu.memory.buffers;
  assert.ok(ready > before);
  await adapted.merge();
  const merged = await adapted.predict(objective, examples);
  merged.forEach((row, i) => row.forEach((value, j) => assert.ok(Math.abs(value - own[i][j]) < 1e-4)));
  adapted.unmerge();
  assert.deepEqual(await adapted.predict(objective, examples), own);
  adapted.delete("it");
  assert.equal(gpu.memory.buffers, before);
  adapted.add("it", adapter, trained(0.3));
  assert.notDeepEqual(await adapted.predict(objective, examples), own);
});

Deno.test("texts of 60 lengths: as many programs as are kept, and memory that no longer grows", async () => {
  const gpu = await testGpu();
  const positions = 60 * 128 + 512;
  const tiny = tinyEncoder();
  const model = {
    ...tiny,
    maxTokens: positions,
    constants: new Map([["positions", { shape: [positions, 16], data: new Float32Array(positions * 16) }]]),
  };
  const objective = classification.of(model, { texts: 1, classes: 2 });
  const adapter = attach(model, headOnly, { target: "all-linear" });
  using frozen = FrozenWeights.of(gpu, model);
  using own = new FrozenWeights(gpu, allStartingWeights(model, adapter, objective, 0));
  using arena = new Arena(gpu);
  using predictor = new Predictor(gpu, {
    model,
    adapter,
    objective,
    weights: new WeightStore(own, frozen),
    batchSize: 1,
    arena,
  });
  const buffers: number[] = [];
  for (let i = 1; i <= 60; i++) {
    await predictor.prepare({ examples: 1, length: 512 + 128 * i, rows: 0 });
    buffers.push(gpu.memory.buffers);
  }
  const most = Math.max(...buffers.slice(0, 20));
  assert.ok(buffers[59] <= most, `${buffers}`);
});
