/**
 * Every kernel that may compute a product gives the default's bits, and the autotuner chooses among them as
 * documented.
 */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { type AutotuneOptions, Autotuner, type Contest, type Field } from "../lib/gpu/autotuner.ts";
import { Gpu, openGpu } from "../lib/gpu/device.ts";
import { readDriver } from "../lib/gpu/driver.ts";
import { type DeviceTraits, type Kernel, renderKernel } from "../lib/gpu/kernel.ts";
import type { BufferView } from "../lib/gpu/program.ts";
import { userCachePath } from "../lib/gpu/tuning_cache.ts";
import { compile } from "../lib/graph/compile.ts";
import { contestsOf } from "../lib/graph/contests.ts";
import { fuse } from "../lib/graph/fuse.ts";
import { Graph, type Tensor } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { activate } from "../lib/graph/ops/activation.ts";
import { linear, matmul, type MatmulOptions } from "../lib/graph/ops/product/product.ts";
import { plan } from "../lib/graph/plan.ts";
import { packedStorage, storedPackings } from "../lib/graph/storages/registry.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { fineTune } from "../lib/train/fine_tune.ts";
import { fillSources, relativeError, runOnGpu, type Values } from "../tasks/conformance/op_errors.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { FakeClock } from "./support/fake_clock.ts";
import { letters, splitOfLetters } from "./support/letters.ts";
import { changed, withoutMemoryFor } from "./support/devices.ts";
import { testGpu } from "./support/ops.ts";

const both = { a: "columns", b: "columns", out: "columns" } as const;

/**
 * Products that together cover every kernel, and every family in every layout, with edges that do not fill a
 * tile and every way of reading. All tiles in all layouts would take minutes to compile.
 */
const products: [string, number, number, number, MatmulOptions, RegExp][] = [
  ["NN", 68, 132, 20, {}, /workgroup|subgroup 16/],
  ["NT", 68, 132, 20, { transposeB: true }, /workgroup|subgroup 64/],
  ["TN", 68, 132, 19, { transposeA: true }, /workgroup|subgroup 16/],
  ["NT in blocks", 36, 68, 12, { transposeB: true, blocks: 2, splits: both }, /workgroup 64/],
  ["NN, long k", 516, 516, 1100, {}, /workgroup 64/],
  ["NN of odd extents", 69, 71, 39, {}, /./],
  ["NT of odd extents", 69, 71, 39, { transposeB: true }, /workgroup/],
  ["TN of odd extents", 69, 71, 39, { transposeA: true }, /workgroup/],
  ["NT, few columns", 70, 7, 13, { transposeB: true }, /./],
];

for (const [name, m, n, k, options, which] of products) {
  Deno.test(`${name} ${m}×${n}×${k}: every candidate is right, and has the default's bits`, async () => {
    const { transposeA, transposeB, blocks = 1 } = options;
    const graph = new Graph();
    const out = matmul(
      graph.weight("a", transposeA ? [k, m * blocks] : [m, k * blocks], false),
      graph.weight("b", transposeB ? [n, k * blocks] : [k, n * blocks], false),
      {
        ...options,
        scale: 0.3,
        // A bias keeps a gradient with few columns from being computed transposed.
        bias: transposeA ? undefined : graph.weight("bias", [n * blocks], false),
        residual: graph.weight("residual", [m, n * blocks], false),
      },
    );
    await checkCandidates(out, which);
  });
}

Deno.test("a product whose default sums in an order of its own: no other kernel is offered or taken", () => {
  const shapes = [["NT", 68, 8], ["NT", 8, 68], ["NN", 68, 8], ["NN", 8, 68], ["TN", 8, 68], ["TN", 68, 8]];
  for (const [layout, m, n] of shapes as [string, number, number][]) {
    const graph = new Graph();
    const [transposeA, transposeB] = [...layout].map((letter) => letter === "T");
    const out = matmul(
      graph.weight("a", transposeA ? [20, m] : [m, 20], false),
      graph.weight("b", transposeB ? [n, 20] : [20, n], false),
      { transposeA, transposeB },
    );
    const variantsOn = (traits: DeviceTraits) => out.node.op!.variants!(out.node, traits);
    const { bucket, candidates, choice } = variantsOn({ subgroupSize: 8 });
    assert.deepEqual(candidates.map(({ name }) => /^(lanes|teams) /.test(name)), [true]);
    const choices = new Map([[bucket, "plain 4×4 in 32×2"]]);
    assert.deepEqual(variantsOn({ subgroupSize: 8, choices }).choice(), choice());
    assert.ok(variantsOn({ subgroupSize: 8, software: true }).candidates.length > 1);
  }
});

for (const transposed of [true, false]) {
  Deno.test(`a low-rank term in 3 blocks, L ${transposed ? "n×r" : "r×n"}: every candidate has the default's bits`, async () => {
    const graph = new Graph();
    const [m, n, k, r] = [70, 144, 20, 12];
    for (const transposeB of [true, false]) {
      const base = matmul(
        graph.weight("a", [m, k], false),
        graph.weight(`b ${transposeB}`, transposeB ? [n, k] : [k, n], false),
        { transposeB, bias: graph.weight("bias", [n], false) },
      );
      const out = matmul(
        graph.weight("v", [m, 3 * r], false),
        graph.weight("low", transposed ? [n, r] : [r, n], false),
        {
          transposeB: transposed,
          blocks: 3,
          splits: { ...both, b: transposed ? "rows" : "columns" },
          scale: 0.7,
          residual: base,
        },
      );
      assert.equal(plan([out]).nodes.length, 1, "one kernel computes both");
      // Each kernel in each layout of L and of W; in all four pairs of them it would take minutes to compile.
      await checkCandidates(out, transposed === transposeB ? /workgroup 128×64/ : /workgroup (64|128×128)/);
    }
  });
}

/**
 * Runs `out` with the default and with those of its kernels, including a GPU's, whose name matches `which`.
 */
async function checkCandidates(out: Tensor, which: RegExp): Promise<void> {
  const [node] = plan([out]).nodes;
  const gpu = await testGpu();
  const traits: DeviceTraits = { ...gpu.traits, software: false };
  const values: Values = new Map();
  fillSources(out.node.graph, values);
  const [expected] = interpret([out], values);
  const { bucket, candidates: [first, ...others] } = node.op!.variants!(node, traits);
  const chosen = others.filter(({ name }) => which.test(name));
  assert.ok(chosen.length >= 1);
  const sources = new Set<string>();
  let bits: Float64Array | undefined;
  for (const { name } of [first, ...chosen]) {
    const choices = new Map([[bucket, name]]);
    const forced = new Gpu(gpu.device, gpu.device.adapterInfo, { ...traits, choices });
    sources.add(node.op!.dispatches(node, false, forced.traits)[0].kernel.code);
    const [actual] = await runOnGpu(forced, [out], values);
    assert.ok(relativeError(actual, expected) < 2e-6, name);
    assert.deepEqual(actual, bits ??= actual, name);
  }
  assert.equal(sources.size, 1 + chosen.length, "each was another kernel");
}

const count = 256;

/**
 * A kernel that writes `value` to each of `count` floats from `first` on, after a loop of `rounds`
 * iterations.
 */
function writer(value: string, rounds = 0, first = 0): Kernel {
  const text = `struct Params {
  rounds: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  var sum = f32(id.x);
  for (var i = 0u; i < params.rounds + ${rounds}u; i++) {
    sum = fract(sum * 1.7 + 0.1);
  }
  if (id.x >= ${first}u) {
    out[id.x] = ${value} + min(sum, 0.0);
  }
}`;
  return renderKernel({ name: "writer", text });
}

/** A contest of the kernels; `made` counts how often it was run. */
function contestOf(gpu: Gpu, kernels: Readonly<Record<string, Kernel>>, bucket = "writers") {
  const made = { fields: 0 };
  const contest: Contest = {
    bucket,
    work: 1,
    kernels: Object.entries(kernels).map(([name, { code }]) => ({ name, code })),
    field(): Promise<Field> {
      made.fields++;
      const buffer = gpu.createBuffer("out", 4 * count);
      const result = { buffer, offset: 0, bytes: 4 * count };
      const candidates = Object.entries(kernels).map(([name, kernel]) => ({
        name,
        calls: [{
          label: name,
          kernel,
          params: { rounds: 0 },
          views: { out: result },
          grid: [count / 64, 1, 1] as const,
        }],
      }));
      const all = { candidates, results: [result], [Symbol.dispose]: () => gpu.destroyBuffer(buffer) };
      return Promise.resolve(all);
    },
  };
  return { contest, made };
}

async function tuned(kernels: Readonly<Record<string, Kernel>>, options: AutotuneOptions = {}) {
  const gpu = await testGpu();
  const reports: string[] = [];
  const cache = options.cache ?? `${await Deno.makeTempDir()}/kernels.json`;
  const tuner = new Autotuner({ report: (line) => reports.push(line), ...options, cache });
  const { contest, made } = contestOf(gpu, kernels);
  const before = gpu.memory;
  await tuner.tune(gpu, [contest]);
  assert.deepEqual(gpu.memory.buffers, before.buffers, "what it allocates it frees");
  return { choice: tuner.choices.get("writers"), reports, cache, fields: made.fields };
}

const [fast, slow] = [writer("1.0"), writer("1.0", 50_000)];

Deno.test("the faster of two kernels is chosen, whichever comes first", async () => {
  assert.equal((await tuned({ slow, fast })).choice, "fast");
  assert.equal((await tuned({ fast, slow })).choice, "fast");
});

Deno.test("a kernel that is wrong in one bit, writes nothing or does not compile is refused, and said to be", async () => {
  const { choice, reports } = await tuned({
    slow,
    wrong: writer("bitcast<f32>(bitcast<u32>(1.0f) + select(0u, 1u, id.x == 200u))"),
    idle: writer("1.0", 0, count),
    broken: writer("nonsense"),
  });
  assert.equal(choice, "slow");
  assert.equal(reports.length, 3);
  assert.match(
    reports[0],
    /writers on .*: "wrong" is not used: value 200 is 1\.0000001.*, the default's is 1$/,
  );
  assert.match(reports[1], /"idle" is not used: value 0 is 0, the default's is 1/);
  assert.match(reports[2], /"broken" is not used: Kernel "writer" does not compile/);
});

Deno.test("a kernel that is refused in many places is reported once", async () => {
  const gpu = await testGpu();
  const reports: string[] = [];
  const cache = `${await Deno.makeTempDir()}/kernels.json`;
  const tuner = new Autotuner({ cache, report: (line) => reports.push(line) });
  const contests = ["one", "other"].map((bucket) =>
    contestOf(gpu, { fast, wrong: writer("2.0") }, bucket).contest
  );
  await tuner.tune(gpu, contests);
  assert.deepEqual([...tuner.choices.values()], ["fast", "fast"]);
  assert.equal(reports.length, 1);
});

Deno.test("a kernel that is right in its first output and wrong in its second is refused", async () => {
  const gpu = await testGpu();
  const reports: string[] = [];
  const cache = `${await Deno.makeTempDir()}/kernels.json`;
  const both = (name: string, second: Kernel, views: readonly BufferView[]) => ({
    name,
    calls: [slow, second].map((kernel, i) => ({
      label: `${name} ${i}`,
      kernel,
      params: { rounds: 0 },
      views: { out: views[i] },
      grid: [count / 64, 1, 1] as const,
    })),
  });
  const { contest } = contestOf(gpu, { slow, wrong: fast });
  const field = () => {
    const buffers = ["first", "second"].map((label) => gpu.createBuffer(label, 4 * count));
    const results = buffers.map((buffer) => ({ buffer, offset: 0, bytes: 4 * count }));
    return Promise.resolve({
      candidates: [both("slow", slow, results), both("wrong", writer("2.0"), results)],
      results,
      [Symbol.dispose]: () => buffers.forEach((buffer) => gpu.destroyBuffer(buffer)),
    });
  };
  const tuner = new Autotuner({ cache, report: (line) => reports.push(line) });
  await tuner.tune(gpu, [{ ...contest, field }]);
  assert.equal(tuner.choices.get("writers"), "slow");
  assert.equal(reports.length, 1);
  assert.match(reports[0], /"wrong" is not used: value 0 of output 2 is 2, the default's is 1$/);
});

Deno.test("both outputs of a node with two are compared", async () => {
  const graph = new Graph();
  const z = matmul(graph.weight("x", [68, 20], false), graph.weight("W", [132, 20], false), {
    transposeB: true,
  });
  const y = activate("gelu", z);
  const [both] = fuse([z.node, y.node], new Set([z]));
  const gpu = await testGpu();
  using field = await fieldOf(contestsOf(gpu, [both])[0]);
  const written = field.candidates[0].calls.flatMap(({ views }) => Object.values(views));
  assert.equal(field.results.length, 2);
  assert.ok(field.results.every((result) => written.includes(result)));
});

Deno.test("a cached choice is not measured again; other source or another bucket is", async () => {
  const first = await tuned({ slow, fast });
  assert.equal(first.fields, 1);
  const { cache } = first;
  const again = await tuned({ slow, fast }, { cache });
  assert.deepEqual([again.choice, again.fields], ["fast", 0]);
  const changed = await tuned({ slow, fast: writer("1.0", 1) }, { cache });
  assert.equal(changed.fields, 1);
  const { choices } = JSON.parse(await Deno.readTextFile(cache));
  const gpu = await testGpu();
  assert.equal(Object.keys(choices).length, 2);
  // Another version of the driver compiles other code: its kernels are timed again.
  const driver = await readDriver(gpu.adapter);
  for (const key of Object.keys(choices)) {
    assert.ok([gpu.adapter.name, "writers", driver ?? ""].every((part) => key.includes(part)), key);
  }
});

Deno.test("the budget: choices that it does not reach keep their default and are not cached", async () => {
  const { choice, fields, cache } = await tuned({ slow, fast }, { seconds: 0 });
  assert.deepEqual([choice, fields], ["slow", 0]);
  const stopped = await tuned({ slow, fast }, { seconds: 1e-6, cache });
  assert.deepEqual([stopped.choice, stopped.fields], ["slow", 1]);
  assert.equal((await tuned({ slow, fast }, { cache })).choice, "fast");

  const gpu = await testGpu();
  const tuner = new Autotuner({ seconds: 0.1, cache, report: () => {} });
  const many = Array.from({ length: 50 }, (_, i) => contestOf(gpu, { slow, fast }, `bucket ${i}`));
  using clock = new FakeClock();
  const field = (contest: Contest) => () => {
    clock.pass(30);
    return contest.field();
  };
  await tuner.tune(gpu, many.map(({ contest }) => ({ ...contest, field: field(contest) })));
  assert.equal(tuner.choices.size, 50);
  assert.equal(many.filter(({ made }) => made.fields > 0).length, 4, "100 ms are over in the fourth of 30");
});

Deno.test("that its time is over is said once, whatever is left", async () => {
  const gpu = await testGpu();
  const reports: string[] = [];
  const cache = `${await Deno.makeTempDir()}/kernels.json`;
  const tuner = new Autotuner({ seconds: 0.01, cache, report: (line) => reports.push(line) });
  using clock = new FakeClock();
  const contests = (from: number) =>
    Array.from({ length: 3 }, (_, i) => contestOf(gpu, { slow, fast }, `bucket ${from + i}`).contest)
      .map((contest) => ({ ...contest, field: () => (clock.pass(20), contest.field()) }));
  await tuner.tune(gpu, contests(0));
  await tuner.tune(gpu, contests(3));
  assert.equal(tuner.choices.size, 6);
  assert.deepEqual(reports, [
    "Autotuner: its 0.01 s are over: other products keep their usual kernels here, and the next run goes on with them",
  ]);
});

Deno.test("contests with more work come first", async () => {
  const gpu = await testGpu();
  const order: string[] = [];
  const contests = [1, 3, 2].map((work) => {
    const { contest } = contestOf(gpu, { fast, slow }, `bucket ${work}`);
    return { ...contest, work, field: () => (order.push(contest.bucket), contest.field()) };
  });
  await new Autotuner({ cache: `${await Deno.makeTempDir()}/kernels.json` }).tune(gpu, contests);
  assert.deepEqual(order, ["bucket 3", "bucket 2", "bucket 1"]);
});

for (
  const [what, content] of [
    ["cut short", '{"version": 1, "choi'],
    ["of another version", '{"version": 0, "choices": {}}'],
    ["of other types", '{"version": 1, "choices": {"a": 1}}'],
    ["not text", Uint8Array.of(0xff, 0xfe, 0)],
  ] as const
) {
  Deno.test(`a cache that is ${what} is reported in a line and made anew`, async () => {
    const cache = `${await Deno.makeTempDir()}/kernels.json`;
    await Deno.writeFile(cache, typeof content === "string" ? new TextEncoder().encode(content) : content);
    const { choice, reports } = await tuned({ slow, fast }, { cache });
    assert.equal(choice, "fast");
    assert.equal(reports.length, 1);
    assert.match(reports[0], /^Autotuner: .*kernels\.json.*; starting without it$/);
    assert.deepEqual((await tuned({ slow, fast }, { cache })).reports, []);
  });
}

Deno.test("a cache that cannot be written is reported in one line", async () => {
  const { choice, reports } = await tuned({ slow, fast }, { cache: "/dev/null/kernels.json" });
  assert.equal(choice, "fast");
  assert.match(reports.join(), /^Autotuner: the choices hold for this run only: /);
});

Deno.test("tuners that write at once leave a whole file, of 2000 entries at most", async () => {
  const cache = `${await Deno.makeTempDir()}/kernels.json`;
  const old = Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`old ${i}`, "slow"]));
  await Deno.writeTextFile(cache, JSON.stringify({ version: 1, choices: old }));
  const gpu = await testGpu();
  await Promise.all(["one", "other"].map((bucket) => {
    const { contest } = contestOf(gpu, { slow, fast }, bucket);
    return new Autotuner({ cache, report: assert.fail }).tune(gpu, [contest]);
  }));
  const { reports, fields } = await tuned({ slow, fast }, { cache });
  assert.deepEqual([reports, fields], [[], 1]);
  const { choices } = JSON.parse(await Deno.readTextFile(cache));
  assert.equal(Object.keys(choices).length, 2000);
  assert.ok(!("old 0" in choices) && "old 1999" in choices);
});

Deno.test("the cache lies in the user's own folder", () => {
  const before = Deno.env.get("XDG_CACHE_HOME");
  Deno.env.set("XDG_CACHE_HOME", "/somewhere");
  try {
    if (Deno.build.os === "linux") assert.equal(userCachePath(), "/somewhere/bora-webgpu/kernels.json");
  } finally {
    if (before === undefined) Deno.env.delete("XDG_CACHE_HOME");
    else Deno.env.set("XDG_CACHE_HOME", before);
  }
});

Deno.test("a tuned program uses what was chosen, has the bits of one that is not, and the next process the same kernels", async () => {
  const cache = `${await Deno.makeTempDir()}/kernels.json`;
  const graph = new Graph();
  // Odd extents, which have few candidates.
  const x = graph.weight("x", [41, 15], false);
  const hidden = matmul(x, graph.weight("up", [47, 15], false), { transposeB: true, activation: "tanh" });
  const out = matmul(hidden, graph.weight("down", [3, 47], false), { transposeB: true });
  const values: Values = new Map();
  fillSources(graph, values);
  const plain = await runOnGpu(await testGpu(), [out], values);
  const reports: string[] = [];
  const open = () => openGpu({ autotune: { seconds: 60, cache, report: (line) => reports.push(line) } });
  using first = await open();
  assert.deepEqual(await runOnGpu(first, [out], values), plain);
  const buckets = [...first.tuner!.choices.keys()];
  assert.equal(buckets.length, 2);
  using second = await open();
  assert.deepEqual(await runOnGpu(second, [out], values), plain);
  assert.deepEqual([...second.tuner!.choices], [...first.tuner!.choices]);

  // Changes the cached choices, to see that they reach the program.
  const file = JSON.parse(await Deno.readTextFile(cache));
  const last = (bucket: string) =>
    [hidden, out].map(({ node }) => node.op!.variants!(node, first.traits)).find((v) => v.bucket === bucket)!
      .candidates.at(-1)!.name;
  for (const key of Object.keys(file.choices)) {
    file.choices[key] = last(buckets.find((bucket) => key.includes(bucket))!);
  }
  await Deno.writeTextFile(cache, JSON.stringify(file));
  using third = await open();
  assert.deepEqual(await runOnGpu(third, [out], values), plain);
  assert.deepEqual([...third.tuner!.choices.values()], buckets.map(last));
  const compiled = await compile(third, [out], {
    label: "third",
    weights: (name) => bufferOf(third, values, name),
  });
  const tiles = compiled.dump().match(/TILE_M=\d+ TILE_N=\d+ GROUP_M=\d+ GROUP_N=\d+/g)!;
  assert.deepEqual(tiles, [
    "TILE_M=8 TILE_N=8 GROUP_M=8 GROUP_N=8",
    "TILE_M=16 TILE_N=4 GROUP_M=8 GROUP_N=1",
  ]);
  assert.deepEqual(reports, []);
});

Deno.test("packed weights: no candidate is refused, the device's own f16 among them", async () => {
  const gpu = await testGpu();
  const reports: string[] = [];
  const traits = { ...gpu.traits, software: false };
  for (const packing of storedPackings) {
    const graph = new Graph();
    const values = graph.weight("values", [8192, 256], false, packing);
    const { scaleEvery } = packedStorage(packing);
    const scales = scaleEvery ? graph.weight("scales", [8192 * 256 / scaleEvery], false) : undefined;
    const { node } = linear(graph.weight("x", [20, 256], false), { values, scales });
    const tuner = new Autotuner({
      seconds: 60,
      cache: "/dev/null/none",
      report: (line) => reports.push(line),
    });
    const candidate = new Gpu(gpu.device, gpu.device.adapterInfo, traits);
    const [contest] = contestsOf(candidate, [node]);
    const { kernels } = contest;
    const native = kernels.filter(({ name }) => name.endsWith(", f16")).length;
    assert.equal(native, packing === "f16" && gpu.traits.f16 ? kernels.length / 2 : 0);
    // One kernel per family: compiling all of them takes long.
    const names = kernels.map(({ name }) => name).filter((name) => /^workgroup (32|64)/.test(name));
    await tuner.tune(candidate, [{ ...contest, field: async () => onlyOf(await fieldOf(contest), names) }]);
    assert.match(tuner.choices.get(contest.bucket)!, /^(plain|workgroup|subgroup)/);
  }
  assert.deepEqual(reports.filter((line) => !line.includes("for this run only")), []);
  // Of few tiles, a product is summed in two stages, and is not timed.
  const graph = new Graph();
  const { node } = linear(graph.weight("x", [20, 256], false), graph.weight("few", [68, 256], false, "f16"));
  assert.equal(node.op!.variants!(node, { ...traits, f16: true }).candidates.length, 1);
});

/** The field of a contest, for which there is memory. */
async function fieldOf(contest: Contest): Promise<Field> {
  const field = await contest.field();
  assert.ok(!(field instanceof Error));
  return field;
}

function onlyOf(field: Field, names: readonly string[]): Field {
  const candidates = field.candidates.filter(({ name }) => names.includes(name));
  return { ...field, candidates };
}

Deno.test("training with a tuner that its budget cuts short gives the same bits", async () => {
  const model = tinyEncoder();
  const adapter = attach(model, bora, { r: 2, blocks: 4, dropout: 0.1, target: ["query", "value"] });
  const options = { learningRate: 1e-2, epochs: 1, batchSize: 4, warmupRatio: 0.1, seed: 1 };
  const run = async (gpu: Gpu) => {
    using frozen = FrozenWeights.of(gpu, model);
    const { epochs, trained } = await fineTune(
      { gpu, model, frozen, adapter, task: letters, split: splitOfLetters(14), ...options },
    );
    return { epochs, trained };
  };
  const cache = `${await Deno.makeTempDir()}/kernels.json`;
  const report = (line: string) => assert.match(line, / s are over: /);
  using gpu = await openGpu({ autotune: { seconds: 2, cache, report } });
  assert.deepEqual(await run(gpu), await run(await testGpu()));
  assert.ok(gpu.tuner!.choices.size > 5, "it had choices to make");
});

/** `device` as an adapter of that kind has it. */
function posingAs(device: GPUDevice, info: Partial<GPUAdapterInfo>): GPUDevice {
  const adapterInfo = { description: "posing", vendor: "0", ...info } as GPUAdapterInfo;
  return changed(device, { adapterInfo });
}

/** What `body` gives where the user's cache folder is in `folder`, which is empty. */
async function withUserCache<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const before = Deno.env.get("XDG_CACHE_HOME");
  const folder = await Deno.makeTempDir();
  Deno.env.set("XDG_CACHE_HOME", folder);
  try {
    return await body(folder);
  } finally {
    if (before === undefined) Deno.env.delete("XDG_CACHE_HOME");
    else Deno.env.set("XDG_CACHE_HOME", before);
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a GPU's kernels are timed without being asked for, and kept; a software driver's are not", () =>
  withUserCache(async (folder) => {
    const { device } = await testGpu();
    const software = posingAs(device, { isFallbackAdapter: true });
    const hardware = posingAs(device, { isFallbackAdapter: false });
    assert.equal((await openGpu({ device: software })).tuner, undefined);
    assert.equal((await openGpu({ device: hardware, autotune: false })).tuner, undefined);
    assert.ok((await openGpu({ device: software, autotune: true })).tuner);

    const graph = new Graph();
    const y = matmul(graph.weight("x", [64, 32], false), graph.weight("w", [64, 32], false), {
      transposeB: true,
    });
    const values: Values = new Map();
    fillSources(graph, values);
    const [tuned, usual] = [
      await openGpu({ device: hardware }),
      await openGpu({ device: hardware, autotune: false }),
    ];
    assert.deepEqual(await runOnGpu(tuned, [y], values), await runOnGpu(usual, [y], values));
    assert.equal(tuned.tuner!.choices.size, 1);
    const kept = JSON.parse(await Deno.readTextFile(`${folder}/bora-webgpu/kernels.json`));
    assert.deepEqual(Object.values(kept.choices), [...tuned.tuner!.choices.values()]);
  }));

/** A product of a few rows by a weight, which is most of the memory that it takes. */
function smallProduct() {
  const graph = new Graph();
  const y = linear(graph.weight("x", [20, 256], false), graph.weight("w", [2048, 256], false));
  const values: Values = new Map();
  fillSources(graph, values);
  return { y, values };
}

for (
  const [what, refused] of [
    ["timing", "autotuner"],
    ["reading what kernels compute", "read autotuner"],
  ]
) {
  Deno.test(`without memory for ${what}, the usual kernels run, and it is said once`, async () => {
    const { y, values } = smallProduct();
    const cache = `${await Deno.makeTempDir()}/kernels.json`;
    const reports: string[] = [];
    const autotune = { seconds: 60, cache, report: (line: string) => reports.push(line) };
    const { device } = await testGpu();
    using gpu = await openGpu({
      device: withoutMemoryFor(device, ({ label }) => label === refused),
      autotune,
    });
    const usual = await runOnGpu(await testGpu(), [y], values);
    assert.deepEqual(await runOnGpu(gpu, [y], values), usual);
    assert.deepEqual(await runOnGpu(gpu, [smallProduct().y], values), usual);
    assert.equal(reports.length, 1);
    assert.match(
      reports[0],
      /no memory to time the kernels of product NT 32×2048×256.*keeps its usual one here: Out of GPU memory/,
    );
    assert.equal(gpu.tuner!.choices.size, 1);
    await assert.rejects(Deno.stat(cache), Deno.errors.NotFound, "another run may have the memory");
  });
}

Deno.test("timing kernels leaves the peak of memory as it is without", async () => {
  const { y, values } = smallProduct();
  const weights = [...values].map(([name, data]) => [name, { data: Float32Array.from(data) }] as const);
  const cache = `${await Deno.makeTempDir()}/kernels.json`;
  const { device } = await testGpu();
  const peaks: number[] = [];
  // It stops after the first kernel, whose buffers are those of all.
  for (const autotune of [{ seconds: 1e-6, cache, report: () => {} }, false]) {
    using gpu = await openGpu({ device, autotune });
    using frozen = new FrozenWeights(gpu, weights);
    using _ = await compile(gpu, [y], { label: "product", weights: (name) => frozen.view(name)! });
    assert.equal(gpu.tuner?.choices.size, autotune ? 1 : undefined);
    peaks.push(gpu.memory.peakBytes);
  }
  assert.equal(peaks[0], peaks[1]);
});

function bufferOf(gpu: Gpu, values: Values, name: string) {
  const bytes = 4 * values.get(name)!.length;
  return { buffer: gpu.createBuffer(name, bytes), offset: 0, bytes };
}
