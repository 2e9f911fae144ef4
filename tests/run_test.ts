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
import { cachedAttention } from "../lib/graph/ops/cached_attention.ts";
import { matmul } from "../lib/graph/ops/product/product.ts";
import { takeRows } from "../lib/graph/ops/take_rows.ts";
import { writeTokens } from "../lib/graph/ops/write_tokens.ts";
import { classification } from "../lib/objectives/classification.ts";
import type { Objective } from "../lib/objectives/objective.ts";
import { objectiveOf } from "../lib/objectives/registry.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { Kept } from "../lib/run/kept.ts";
import { Predictor } from "../lib/run/predictor.ts";
import { States } from "../lib/run/states.ts";
import { WeightStore } from "../lib/run/weight_store.ts";
import { AdaptedModel } from "../lib/train/adapted_model.ts";
import { allStartingWeights } from "../lib/train/trained_tensors.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { withoutMemoryFor } from "./support/devices.ts";
import { hardwareGpu, testGpu } from "./support/ops.ts";

/** What one turn of a program with states gives: its outputs, and what the states become. */
interface Turn {
  readonly outs: readonly Tensor[];
  readonly becomes: readonly (readonly [state: Tensor, value: Tensor])[];
}

/** A [32, k] weight of ones, for products of the states' shape. */
const ones = (x: Tensor, k: number) => x.node.graph.weight(`ones ${k}`, [32, k], false);

/** Programs with the states a and b and the input x, all [32, 32]. */
const stateful: Readonly<Record<string, (a: Tensor, b: Tensor, x: Tensor) => Turn>> = {
  "a + x over a itself": (a, _, x) => {
    const after = add(a, x);
    return { outs: [multiply(after, x)], becomes: [[a, after]] };
  },
  "a + x, while a is still read": (a, _, x) => {
    const after = add(a, x);
    return { outs: [multiply(after, a)], becomes: [[a, after]] };
  },
  "x itself": (a, _, x) => ({ outs: [add(a, x)], becomes: [[a, x]] }),
  "a·a": (a, _, x) => ({ outs: [add(a, x)], becomes: [[a, multiply(add(a, x), add(a, x))]] }),
  "x and what another state held": (a, b, x) => ({ outs: [add(a, b)], becomes: [[a, x], [b, a]] }),
  "what another state held, and a + x": (a, b, x) => ({
    outs: [add(b, x)],
    becomes: [[b, a], [a, add(a, x)]],
  }),
  "each what the other held": (a, b, x) => ({ outs: [add(a, x)], becomes: [[a, b], [b, a]] }),
  "what it held": (a, b, x) => ({ outs: [add(a, x)], becomes: [[a, a], [b, add(b, x)]] }),
  "one value for both": (a, b, x) => {
    const after = add(a, x);
    return { outs: [add(b, x)], becomes: [[a, after], [b, after]] };
  },
  "what nothing reads": (a, b, x) => ({ outs: [add(b, x)], becomes: [[a, add(x, x)], [b, x]] }),
  "a product with a as its residual": (a, b, x) => {
    const base = matmul(ones(x, 8), ones(x, 8), { transposeB: true, residual: a });
    const after = matmul(ones(x, 4), ones(x, 4), { transposeB: true, residual: base });
    return { outs: [add(after, x)], becomes: [[a, after], [b, x]] };
  },
  "what is read": (a, b, x) => ({ outs: [a, b, add(a, x)], becomes: [[a, add(a, x)]] }),
};

for (const [name, trace] of Object.entries(stateful)) {
  for (const noReuse of [false, true]) {
    const how = noReuse ? " without reuse" : "";
    Deno.test(`a state is what a run leaves: ${name}, three runs as in float64${how}`, async () => {
      const gpu = await testGpu();
      const graph = new Graph();
      const shape = [32, 32];
      const [a, b, x] = [graph.state("a", shape), graph.state("b", shape), graph.input("x", shape)];
      const { outs, becomes } = trace(a, b, x);
      for (const [state, value] of becomes) graph.update(state, value);
      using states = new States(gpu, [["a", 4096], ["b", 4096]]);
      const weights = new Map([4, 8].map((k) => [`ones ${k}`, { data: new Float32Array(32 * k).fill(1) }]));
      using frozen = new FrozenWeights(gpu, weights);
      using compiled = await compile(gpu, outs, {
        label: "state",
        weights: (name) => states.view(name) ?? frozen.view(name)!,
        noReuse,
      });
      const constants = [...weights].map(([name, { data }]) => [name, Float64Array.from(data)] as const);
      const first = (by: number) => Float32Array.from({ length: 1024 }, (_, i) => by * (i % 3));
      let expected: ReadonlyMap<string, Float64Array> = new Map([["a", Float64Array.from(first(1))], [
        "b",
        Float64Array.from(first(2)),
      ]]);
      gpu.upload(states.view("a")!.buffer, first(1));
      gpu.upload(states.view("b")!.buffer, first(2));
      const round = async (turn: number) => {
        const values = Float32Array.from({ length: 1024 }, (_, i) => i % 5 + turn - 2);
        const run = interpretRun(
          outs,
          new Map([...constants, ...expected, ["x", Float64Array.from(values)]]),
        );
        expected = run.states;
        compiled.upload({ x: values });
        compiled.run();
        for (const [i, out] of outs.entries()) {
          assert.deepEqual([...await compiled.read(out)], [...run.values[i]], `turn ${turn}`);
        }
        for (const [state, value] of becomes) {
          const held = expected.get(state.node.name)!;
          assert.deepEqual([...await compiled.read(state)], [...held], `turn ${turn}: ${state.node.name}`);
          if (value.node.op) assert.deepEqual(await compiled.read(value), await compiled.read(state));
        }
      };
      for (const turn of [0, 1, 2]) await round(turn);
      states.clear();
      expected = new Map();
      await round(1);
    });
  }
}

for (const cache of ["f32", "f16"] as const) {
  for (
    const [how, noReuse, isHardware] of [["in place", false, false], ["beside the cache", true, false], [
      "by a GPU",
      false,
      true,
    ]] as const
  ) {
    Deno.test(`a cache of ${cache} has the keys and values of three runs, written ${how}, as in float64`, async () => {
      const gpu = isHardware ? await hardwareGpu() : await testGpu();
      const graph = new Graph();
      const [texts, capacity, width] = [2, 5, 16];
      const rows = (name: string) => graph.input(name, [texts, width]);
      const state = (name: string) => graph.state(name, [texts * capacity, width], cache);
      const [at, places] = ["at", "places"].map((name) => graph.input(name, [texts, 1], "u32"));
      const table = graph.input("table", [capacity, 8]);
      const before = { keys: state("all keys"), values: state("all values") };
      const after = writeTokens(before, { keys: rows("keys"), values: rows("values") }, at, {
        table,
        places,
      });
      graph.update(before.keys, after.keys);
      graph.update(before.values, after.values);
      const options = { texts, heads: 4, kvHeads: 2, scale: 1, rotation: table };
      const out = cachedAttention(graph.input("q", [texts, 32]), after, places, options);
      const bytes = texts * capacity * width * (cache === "f16" ? 2 : 4);
      using states = new States(gpu, [["all keys", bytes], ["all values", bytes]]);
      using compiled = await compile(gpu, [out], {
        label: "cache",
        weights: (name) => states.view(name)!,
        noReuse,
      });
      assert.equal(compiled.plan.inPlace.has(after.keys.node), !noReuse);
      let held: ReadonlyMap<string, Float64Array> = new Map();
      for (const turn of [0, 1, 2]) {
        const noise = (size: number, by: number) =>
          Float32Array.from({ length: size }, (_, i) => Math.sin(i * by + turn));
        const sources = {
          keys: noise(32, 1.3),
          values: noise(32, 2.7),
          q: noise(64, 0.7),
          table: noise(40, 0.1),
          at: Uint32Array.of(turn, turn + 1),
          places: Uint32Array.of(turn, turn + 1),
        };
        const given = Object.entries(sources).map(([name, values]) =>
          [name, Float64Array.from(values)] as const
        );
        const run = interpretRun([out], new Map([...given, ...held]));
        held = run.states;
        compiled.upload(sources);
        compiled.run();
        // A half is rounded to nearest in float64, and by the device as it likes.
        const tolerance = cache === "f16" ? 2e-3 : 2e-6;
        assert.ok(relativeError(await compiled.read(out), run.values[0]) < tolerance);
      }
    });
  }
}

Deno.test("an update that is written elsewhere is copied into its state", async () => {
  const gpu = await testGpu();
  const graph = new Graph();
  const [s, x] = [graph.state("s", [4]), graph.input("x", [4])];
  const after = add(s, x);
  graph.update(s, after);
  using states = new States(gpu, [["s", 16], ["elsewhere", 16]]);
  using compiled = await compile(gpu, [after], {
    label: "state",
    weights: (name) => states.view(name)!,
    destinations: new Map([[after, states.view("elsewhere")!]]),
  });
  compiled.upload({ x: Float32Array.of(1, 2, 3, 4) });
  for (let i = 0; i < 2; i++) compiled.run();
  for (const tensor of [s, after]) assert.deepEqual([...await compiled.read(tensor)], [2, 4, 6, 8]);
});

Deno.test("a destination is for a tensor that the program computes, and of its size", async () => {
  const gpu = await testGpu();
  const x = new Graph().input("x", [4]);
  const [out, other] = [add(x, x), multiply(x, x)];
  using states = new States(gpu, [["large", 16], ["small", 8]]);
  const to = (tensor: Tensor, name: string) =>
    compile(gpu, [out], {
      label: "it",
      weights: (name) => assert.fail(name),
      destinations: new Map([[tensor, states.view(name)!]]),
    });
  await assert.rejects(to(x, "large"), /it: "x" has a destination, and this program does not compute it/);
  await assert.rejects(to(other, "large"), /has a destination, and this program does not compute it/);
  await assert.rejects(to(out, "small"), /it: the destination of "" has 8 bytes, not 16/);
});

Deno.test("only what a run leaves can be read, only what fits is uploaded, and nothing runs after disposal", async () => {
  const gpu = await testGpu();
  const graph = new Graph();
  const [x, ids] = [graph.input("x", [4, 4]), graph.input("ids", [4], "u32")];
  const middle = graph.scope("middle", () => add(x, x));
  const out = takeRows(middle, { rows: ids, places: ids, from: 0, count: 4 });
  const compiled = await compile(gpu, [out], { label: "it", weights: (name) => assert.fail(name) });
  const values = { x: Float32Array.from({ length: 16 }, (_, i) => i), ids: Uint32Array.of(3, 2, 1, 0) };
  compiled.upload({ ...values, further: Float32Array.of(1) });
  compiled.run();
  assert.deepEqual([...await compiled.read(out, 4)], [24, 26, 28, 30]);
  assert.throws(() => compiled.view(middle), /it: the add at "middle" is not an output/);
  await assert.rejects(compiled.read(middle), /compile it as an output, or everything with noReuse/);
  await assert.rejects(compiled.read(ids), /it: "ids" is \[4\] u32, and read returns f32 alone/);
  for (const x of [Float32Array.of(1), new Float32Array(17), new Uint32Array(16)]) {
    const { name } = x.constructor;
    assert.throws(
      () => compiled.upload({ ...values, x }),
      new RegExp(`"x" is \\[4, 4\\] f32, so it takes a Float32Array of 16, not ${name} of ${x.length}`),
    );
  }
  compiled[Symbol.dispose]();
  assert.throws(() => compiled.run(), /it: this program has been disposed of/);
  assert.throws(() => compiled.upload(values), /disposed of/);
  await assert.rejects(compiled.read(out), /disposed of/);
});

Deno.test("states without an update, and those that are read, are what a run leaves in float64 too", () => {
  const graph = new Graph();
  const [s, t, x] = [graph.state("s", [1]), graph.state("t", [1]), graph.input("x", [1])];
  graph.update(s, add(s, x));
  const sources = new Map([["x", Float64Array.of(2)], ["s", Float64Array.of(3)]]);
  const { values, states } = interpretRun([s, t, add(s, t)], sources);
  assert.deepEqual(values.map(([value]) => value), [5, 0, 3]);
  assert.deepEqual([...states].map(([name, [value]]) => [name, value]), [["s", 5], ["t", 0]]);
});

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
  assert.throws(() => graph.update(x, x), /"x" is input "x" \[2\] f32 and no state: only what Graph.state/);
  assert.throws(() => graph.update(add(x, x), x), /"" is add "" \[2\] f32 and no state/);
  const other = new Graph().input("z", [2]);
  assert.throws(() => graph.update(s, other), /the update of "s": input "z" \[2\] f32 is of another graph/);
  graph.update(s, x);
  assert.throws(() => graph.update(s, x), /it is updated already/);
});

/** Makes values that log when they are made and dropped. */
function logged() {
  const log: string[] = [];
  const make = (key: string, ready: Promise<void> = Promise.resolve()) => async () => {
    log.push(`make ${key}`);
    await ready;
    return { key, [Symbol.dispose]: () => void log.push(`drop ${key}`) };
  };
  return { log, make };
}

Deno.test("what is kept is what was used last; what is dropped is disposed of", async () => {
  const { log, make } = logged();
  {
    using kept = new Kept<Disposable>(2);
    for (const key of ["a", "b", "a", "c", "a", "b"]) await kept.use([key], make(key), () => {});
  }
  assert.deepEqual(log, ["make a", "make b", "make c", "drop b", "make b", "drop c", "drop a", "drop b"]);
});

Deno.test("what is kept is made once for all that ask at once, and again where making it failed", async () => {
  const { log, make } = logged();
  using kept = new Kept<Disposable & { readonly key: string }>(2);
  const keyOf = ({ key }: { readonly key: string }) => key;
  assert.deepEqual(await Promise.all([1, 2].map(() => kept.use(["a"], make("a"), keyOf))), ["a", "a"]);
  const refused = Promise.reject(new Error("no"));
  const failed = [1, 2].map(() => kept.use(["b"], make("b", refused), keyOf));
  for (const { status } of await Promise.allSettled(failed)) assert.equal(status, "rejected");
  assert.equal(await kept.use(["b"], make("b"), keyOf), "b");
  const own = {};
  assert.equal(await kept.use(["b", own], make("c"), keyOf), "c");
  assert.equal(await kept.use(["b", {}], make("d"), keyOf), "d");
  assert.deepEqual(log, ["make a", "make b", "make b", "make c", "drop a", "make d", "drop b"]);
});

Deno.test("what is dropped, while it is used or made, is disposed of when its last use ends", async () => {
  const { log, make } = logged();
  const kept = new Kept<Disposable>(1);
  const [made, used] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const first = kept.use(["a"], make("a", made.promise), () => void log.push("use a"));
  const second = kept.use(["a"], make("a"), () => used.promise);
  const other = kept.use(["b"], make("b"), () => used.promise);
  made.resolve();
  await first;
  assert.deepEqual(log, ["make a", "make b", "use a"]);
  kept[Symbol.dispose]();
  await assert.rejects(kept.use(["b"], make("b"), () => {}), /disposed of/);
  used.resolve();
  await Promise.all([second, other]);
  assert.deepEqual(log.slice(3).sort(), ["drop a", "drop b"]);
});

Deno.test("values that do not fit into a buffer are refused before WebGPU sees them", async () => {
  const gpu = await testGpu();
  const buffer = gpu.createBuffer("small", 16);
  assert.throws(
    () => gpu.upload(buffer, new Float32Array(5)),
    /"small" has 16 bytes: 20 do not fit there from byte 0/,
  );
  assert.throws(() => gpu.upload(buffer, new Float32Array(4), 4), /16 do not fit there from byte 4 on/);
  gpu.upload(buffer, Float32Array.of(1, 2, 3, 4));
  assert.deepEqual([...new Float32Array(await gpu.read(buffer, 16))], [1, 2, 3, 4]);
  gpu.destroyBuffer(buffer);
});

Deno.test("after an error of WebGPU a Gpu says what to do", async () => {
  using gpu = await openGpu();
  const buffer = gpu.createBuffer("small", 16);
  gpu.device.queue.writeBuffer(buffer, 8, new Float32Array(4));
  await new Promise((done) => setTimeout(done, 10));
  assert.throws(() => gpu.check(), /WebGPU error on .*\n.* computes nothing more: open another \(openGpu\)/s);
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

Deno.test("the objective of a task is the same each time, so that predictions build no programs again; of another it is another", async () => {
  using gpu = await openGpu();
  const { model, adapter, trained, examples } = tinyAdapted();
  const labels = ["a", "b"];
  const objective = (labels: readonly string[], texts = ["a"], of = model) =>
    objectiveOf(of, { objective: "classification", labels }, { texts });
  using adapted = new AdaptedModel(gpu, model);
  adapted.add("it", adapter, trained(0.2));
  const first = await adapted.predict(objective(labels), examples);
  const counts = counted(gpu);
  assert.deepEqual(await adapted.predict(objective(labels), examples), first);
  assert.deepEqual(Object.fromEntries(counts), { staging: 1 });
  const others = [
    objective(["a", "b", "c"]),
    objective(labels, ["a", "b"]),
    objective(labels, ["a"], tinyEncoder()),
  ];
  assert.equal(new Set([objective(labels), ...others]).size, 4);
});

/** A tiny model with an objective and an adapter, and weights for it that differ by `fill`. */
function tinyAdapted() {
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
  return { model, objective, adapter, trained, examples: examplesOf([3, 9]) };
}

Deno.test("an adapter that is deleted, merged or exchanged leaves nothing on the GPU and no prediction of its own", async () => {
  const gpu = await testGpu();
  const { model, objective, adapter, trained, examples } = tinyAdapted();
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

Deno.test("an adapter that is exchanged while it predicts or merges is not used under the new one's name", async () => {
  const gpu = await testGpu();
  const { model, objective, adapter, trained, examples } = tinyAdapted();
  using other = new AdaptedModel(gpu, model);
  other.add("it", adapter, trained(0.3));
  const expected = await other.predict(objective, examples);
  using adapted = new AdaptedModel(gpu, model);
  adapted.add("it", adapter, trained(0.2));
  const before = gpu.memory.buffers;
  const predicted = adapted.predict(objective, examples);
  // Which of the two ends first is open.
  const givenUp = assert.rejects(adapted.merge(), /"it" is no longer active: the merge was given up/);
  adapted.delete("it");
  adapted.add("it", adapter, trained(0.3));
  assert.notDeepEqual(await predicted, expected);
  await givenUp;
  assert.equal(gpu.memory.buffers, before);
  assert.deepEqual(await adapted.predict(objective, examples), expected);
  const twice = await Promise.allSettled([adapted.merge(), adapted.merge()]);
  const [refused, ...others] = twice.flatMap((one) => one.status === "rejected" ? [one.reason] : []);
  assert.match(refused.message, /"it" is merged: call unmerge\(\) before you merge again/);
  assert.equal(others.length, 0);
});

Deno.test("predictions that run at once share what they need, and each is of the adapter active at its call", async () => {
  const gpu = await testGpu();
  const { model, objective, adapter, trained, examples } = tinyAdapted();
  const names = ["a", "b", "c", "d", "e", "f"];
  const add = (adapted: AdaptedModel) => {
    for (const [i, name] of names.entries()) adapted.add(name, adapter, trained(0.1 * i));
  };
  const before = gpu.memory.buffers;
  const expected: Float32Array[][] = [];
  {
    using adapted = new AdaptedModel(gpu, model);
    add(adapted);
    for (const name of names) {
      adapted.setActive(name);
      expected.push(await adapted.predict(objective, examples));
    }
  }
  assert.equal(gpu.memory.buffers, before);
  const adapted = new AdaptedModel(gpu, model);
  add(adapted);
  const idle = gpu.memory.buffers;
  const all = [1, 2].flatMap(() =>
    names.map((name) => {
      adapted.setActive(name);
      return adapted.predict(objective, examples);
    })
  );
  for (const name of names.slice(0, 3)) adapted.delete(name);
  assert.deepEqual(await Promise.all(all), [...expected, ...expected]);
  for (const name of names.slice(3)) adapted.delete(name);
  assert.equal(gpu.memory.buffers, idle);
  adapted.add("a", adapter, trained(0));
  const [first, second] = [adapted.predict(objective, examples), adapted.predict(objective, examples)];
  adapted[Symbol.dispose]();
  assert.deepEqual(await Promise.all([first, second]), [expected[0], expected[0]]);
  assert.equal(gpu.memory.buffers, before);
  await assert.rejects(adapted.predict(objective, examples), /this AdaptedModel has been disposed of/);
});

Deno.test("a custom objective is not taken for another of the same description", async () => {
  const { model, objective, adapter, trained, examples } = tinyAdapted();
  const doubled: Objective = {
    ...objective,
    trace(step) {
      const { predictions, loss } = objective.trace(step);
      return { predictions: add(predictions, predictions), loss };
    },
  };
  using adapted = new AdaptedModel(await testGpu(), model);
  adapted.add("it", adapter, trained(0.2));
  const own = await adapted.predict(objective, examples);
  assert.deepEqual(
    await adapted.predict(doubled, examples),
    own.map((row) => row.map((value) => value + value)),
  );
});

Deno.test("after a prediction that has no memory, a smaller one has the values that it always has", async () => {
  const model = tinyEncoder();
  const objective = classification.of(model, { texts: 1, classes: 2 });
  const adapter = attach(model, headOnly, { target: "all-linear" });
  const { device } = await testGpu();
  for (const name of [/^arena/, /^predictions/]) {
    const isTooLarge = ({ label = "", size }: GPUBufferDescriptor) => name.test(label) && size > 1000;
    const predict = async (gpu: Gpu, first: number) => {
      using frozen = FrozenWeights.of(gpu, model);
      using own = new FrozenWeights(gpu, allStartingWeights(model, adapter, objective, 0));
      using arena = new Arena(gpu);
      const weights = new WeightStore(own, frozen);
      using predictor = new Predictor(gpu, { model, adapter, objective, weights, batchSize: 1, arena });
      const many = examplesOf(Array(first).fill(12));
      if (first > 0) await assert.rejects(predictor.predict(many), /Out of GPU memory: "(arena|predictions)/);
      return await predictor.predict(examplesOf([8]));
    };
    using gpu = await openGpu({ device: withoutMemoryFor(device, isTooLarge), autotune: false });
    assert.deepEqual(await predict(gpu, 200), await predict(await testGpu(), 0));
    assert.equal(gpu.memory.buffers, 0);
  }
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
