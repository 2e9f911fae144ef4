/** What attention promises beyond its values: padding is not read, bits are the same every run, and GPUs are filled. */

import assert from "node:assert/strict";
import { needsOf } from "../lib/gpu/kernel.ts";
import { grad } from "../lib/graph/grad.ts";
import { Graph, type Tensor } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { attention } from "../lib/graph/ops/attention.ts";
import { cachedAttention } from "../lib/graph/ops/cached_attention.ts";
import { plan } from "../lib/graph/plan.ts";
import {
  fillSources,
  randomValues,
  relativeError,
  runOnGpu,
  scalarOf,
  type Values,
} from "../tasks/conformance/op_errors.ts";
import { hardwareGpu, testGpu } from "./support/ops.ts";

const gpus = [["this device's kernels", testGpu], ["a GPU's", hardwareGpu]] as const;

/** Attention of texts of one length, and its gradients; causal unless `window` is 0. */
function traced(
  batch: number,
  length: number,
  heads: number,
  kvHeads: number,
  width: number,
  window: number,
) {
  const graph = new Graph();
  const q = graph.weight("q", [batch * length, heads * width], true);
  const [k, v] = ["k", "v"].map((name) => graph.weight(name, [batch * length, kvHeads * width], true));
  const lengths = graph.input("lengths", [batch], "u32");
  const out = attention(q, k, v, lengths, {
    heads,
    kvHeads,
    causal: window > 0,
    window: window || Infinity,
    scale: width ** -0.5,
  });
  return { graph, outputs: [out, ...grad([scalarOf(graph, out)], [q, k, v])] };
}

for (const [whose, open] of gpus) {
  Deno.test(`attention reads no key past a text's last token: what lies there, NaN even, changes no bit of the real rows, ${whose}`, async () => {
    const [length, tokens, width] = [6, 4, 32];
    const graph = new Graph();
    const [q, k, v] = ["q", "k", "v"].map((name) => graph.input(name, [length, width]));
    const out = attention(q, k, v, graph.input("lengths", [1], "u32"), { heads: 1, scale: 0.5 });
    const real = async (padding: number) => {
      const values: Values = new Map(
        ["q", "k", "v"].map((name) => [name, randomValues(name, length * width)]),
      );
      values.set("lengths", Float64Array.of(tokens));
      for (const name of ["k", "v"]) values.get(name)!.fill(padding, tokens * width);
      return (await runOnGpu(await open(), [out], values))[0].subarray(0, tokens * width);
    };
    const clean = await real(0);
    assert.ok(clean.every(Number.isFinite) && clean.some((value) => value !== 0));
    assert.deepEqual(await real(NaN), clean);
  });

  Deno.test(`attention and its gradients have the same bits in every run, ${whose}`, async () => {
    const { graph, outputs } = traced(2, 70, 6, 2, 32, 20);
    const values: Values = new Map([["lengths", Float64Array.of(70, 41)]]);
    fillSources(graph, values);
    const run = async () => await runOnGpu(await open(), outputs, values);
    assert.deepEqual(await run(), await run());
  });
}

for (
  const [length, heads, kvHeads, width, window] of [
    [33, 2, 1, 96, 0],
    [75, 2, 1, 128, 33],
    [35, 2, 1, 256, Infinity],
    [67, 1, 1, 200, 17],
  ]
) {
  Deno.test(`wide heads on a GPU: ${length} tokens, ${heads} heads on ${kvHeads} of ${width}, window ${window}`, async () => {
    const { graph, outputs } = traced(2, length, heads, kvHeads, width, window);
    const values: Values = new Map([["lengths", Float64Array.of(length, Math.max(1, length - 36))]]);
    fillSources(graph, values);
    const expected = interpret(outputs, values);
    const actual = await runOnGpu(await hardwareGpu(), outputs, values);
    actual.forEach((own, i) => assert.ok(relativeError(own, expected[i]) < 2e-5, `output ${i}`));
  });
}

/** The launches on a GPU, with their invocations; none needs more of a workgroup than WebGPU grants everywhere. */
function launchesOnGpus(outputs: readonly Tensor[]) {
  const { nodes, inPlace } = plan(outputs);
  const launches = nodes
    .flatMap((node) => node.op!.dispatches(node, inPlace.has(node), { subgroupSize: 32, software: false }))
    .filter(({ kernel }) => /^(cached_)?attention/.test(kernel.label));
  return launches.map(({ kernel, grid }) => {
    const needs = needsOf(kernel);
    assert.ok(needs.maxComputeInvocationsPerWorkgroup <= 256, kernel.label);
    assert.ok(needs.maxComputeWorkgroupStorageSize <= 16384, kernel.label);
    assert.ok(needs.maxStorageBuffersPerShaderStage <= 8, kernel.label);
    const threads = grid.reduce(
      (product, extent) => product * extent,
      needs.maxComputeInvocationsPerWorkgroup,
    );
    return { label: kernel.label, threads };
  });
}

Deno.test("a GPU's attention has 8,192 invocations in every launch of a layer's step, and fits WebGPU's least workgroup", () => {
  for (const [heads, width] of [[24, 32], [12, 64], [4, 64], [4, 128], [4, 256]]) {
    const launches = launchesOnGpus(traced(8, 128, heads, heads, width, Infinity).outputs);
    assert.deepEqual(launches.map(({ label }) => label.match(/PASS=(\d)/)![1]), ["0", "1", "2", "3"]);
    for (const { label, threads } of launches) assert.ok(threads >= 8192, `${label}: ${threads}`);
  }
});

/** Attention of one token over a cache. */
function decoded(heads: number, kvHeads: number, width: number, capacity: number) {
  const graph = new Graph();
  const q = graph.input("q", [1, heads * width]);
  const [k, v] = ["k", "v"].map((name) => graph.input(name, [capacity, kvHeads * width]));
  const options = { texts: 1, heads, kvHeads, scale: width ** -0.5 };
  return {
    graph,
    output: cachedAttention(q, { keys: k, values: v }, graph.input("places", [1], "u32"), options),
  };
}

Deno.test("a GPU's attention of one token over 8,192 keys has 8,192 invocations in both launches", () => {
  for (
    const [heads, kvHeads, width] of [[32, 8, 128], [32, 32, 128], [32, 32, 64], [32, 8, 20], [32, 4, 256]]
  ) {
    const launches = launchesOnGpus([decoded(heads, kvHeads, width, 8192).output]);
    assert.equal(launches.length, 2);
    for (const { label, threads } of launches) assert.ok(threads >= 8192, `${label}: ${threads}`);
  }
});

Deno.test("attention over a cache has the same bits in every run, and reads no key past a token's place, a GPU's", async () => {
  const { graph, output } = decoded(6, 2, 64, 400);
  const values: Values = new Map([["places", Float64Array.of(270)]]);
  fillSources(graph, values);
  const run = async () => (await runOnGpu(await hardwareGpu(), [output], values))[0];
  const clean = await run();
  for (const name of ["k", "v"]) values.get(name)!.fill(NaN, 271 * 2 * 64);
  assert.deepEqual(await run(), clean);
  assert.ok(clean.every(Number.isFinite));
});

Deno.test("heads wider than any tile have software's kernels on GPUs too", () => {
  const names = (outputs: readonly Tensor[]) =>
    launchesOnGpus(outputs).map(({ label }) => label.split(" ")[0]);
  const own = names(traced(1, 5, 2, 1, 260, Infinity).outputs);
  assert.deepEqual(own, ["attention", "attention_delta", "attention", "attention"]);
  assert.deepEqual(names([decoded(1, 1, 516, 70).output]), ["cached_attention"]);
});
