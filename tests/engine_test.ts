/**
 * The engine's guarantees: templates, compile errors, limits, a caller's device, planning, and a golden
 * program.
 */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { initialise } from "../lib/adapters/initialise.ts";
import { lora } from "../lib/adapters/lora.ts";
import { openGpu } from "../lib/gpu/device.ts";
import { evaluateExpression } from "../lib/gpu/expression.ts";
import { type Kernel, linearGrid, plainDevice, renderKernel } from "../lib/gpu/kernel.ts";
import { render } from "../lib/gpu/render.ts";
import { Arena, compile } from "../lib/graph/compile.ts";
import { grad, layerOfPath } from "../lib/graph/grad.ts";
import { Graph, sizeOf, type Tensor } from "../lib/graph/graph.ts";
import { activate } from "../lib/graph/ops/activation.ts";
import { add } from "../lib/graph/ops/binary.ts";
import { dropout } from "../lib/graph/ops/dropout.ts";
import { linear } from "../lib/graph/ops/product/product.ts";
import { sumOfSquares } from "../lib/graph/ops/sum_of_squares.ts";
import { dumpPlan, plan } from "../lib/graph/plan.ts";
import { publishedEncoder } from "../lib/models/published_configs.ts";
import { unloadedEncoder } from "../lib/models/unloaded_encoder.ts";
import { classification } from "../lib/objectives/classification.ts";
import { traceStep } from "../lib/run/step.ts";
import { fillSources, runOnGpu, type Values } from "../tasks/conformance/op_errors.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { withoutMemoryFor } from "./support/devices.ts";
import { testGpu } from "./support/ops.ts";

/** A training step of the tiny encoder with BoRA: the loss and every gradient. */
function tracedStep() {
  const model = tinyEncoder();
  const adapter = attach(model, bora, {
    r: 2,
    alpha: 4,
    blocks: 4,
    dropout: 0.1,
    target: ["query", "value"],
  });
  const objective = classification.of(model, { texts: 1, classes: 2 });
  const { graph, losses, loss } = traceStep(
    model,
    adapter,
    objective,
    { examples: 3, length: 8, rows: 0 },
    true,
  );
  const targets = graph.nodes.filter((node) => node.source === "trainable").map((node) => node.outputs[0]);
  return { model, adapter, objective, graph, outputs: [loss, ...grad(losses, targets)] };
}

Deno.test("expressions: precedence, comparison, and names that do not exist", () => {
  assert.equal(evaluateExpression("1 + 2 * (A - 3) % 4", { A: 5 }), 1);
  assert.equal(evaluateExpression("A > 2 && !(B == 1)", { A: 3, B: 0 }), 1);
  assert.throws(() => evaluateExpression("A + C", { A: 1 }), /unknown name "C".*defined are A/);
});

Deno.test("templates: #if, #else, #for, nesting, and errors with the line", () => {
  const template = "#for i in 0..N\n#if i % 2 == 0\neven ${i}\n#else\nodd ${i * 10}\n#end\n#end\n";
  assert.equal(render(template, { N: 3 }), "even 0\nodd 10\neven 2\n");
  assert.throws(() => render("a\n#if 1\nb\n", {}), /line 2: "#if 1" has no #end/);
  assert.throws(() => render("a\n#end\n", {}), /line 2: "#end" without/);
  assert.throws(() => render("x\n${N}\n", {}), /line 2: unknown name "N"/);
  assert.throws(
    () => render('#include "no.wgsl"\n', {}),
    /line 1: no include "no.wgsl"; have activation.wgsl, attention.wgsl, .*gelu.wgsl/,
  );
  assert.throws(() => render("#loop\n", {}), /line 1: unknown directive #loop/);
});

Deno.test("a long 1-D grid is folded, and covers every item", () => {
  assert.deepEqual(linearGrid(100, 64), [2, 1, 1]);
  const [x, y] = linearGrid(64 * 65535 + 1, 64);
  assert.ok(x <= 65535 && y === 2 && x * y * 64 >= 64 * 65535 + 1);
});

Deno.test("a kernel that does not compile is named, with the compiler's words and the WGSL line", async () => {
  const gpu = await testGpu();
  const kernel = renderKernel({
    name: "broken",
    text: "@compute @workgroup_size(1)\nfn main() {\n  let x: u32 = nonsense;\n}\n",
  }, { TILE: 4 });
  await assert.rejects(
    () => gpu.pipelines.get(kernel),
    /Kernel "broken TILE=4" does not compile:[^]*nonsense/,
  );
  assert.ok(
    await gpu.pipelines.get(
      renderKernel({ name: "fine", text: "@compute @workgroup_size(1)\nfn main() {}\n" }),
    ),
  );
});

Deno.test("a buffer beyond the binding limit is refused with need and limit, and nothing is allocated", async () => {
  const gpu = await testGpu();
  const before = gpu.memory;
  assert.throws(
    () => gpu.createBuffer("huge", 2 ** 45),
    /Buffer "huge" needs 35184372088832 bytes; .* binds at most \d+/,
  );
  assert.deepEqual(gpu.memory, before);
});

Deno.test("all who wait for an allocation that is refused are told, and those after them are not", async () => {
  const { device } = await testGpu();
  using gpu = await openGpu({
    device: withoutMemoryFor(device, ({ label }) => label === "large"),
    autotune: false,
  });
  const large = gpu.createBuffer("large", 4096);
  gpu.createBuffer("small", 64);
  const outcomes = await Promise.allSettled([gpu.settled(), gpu.settled()]);
  for (const outcome of outcomes) {
    assert.equal(outcome.status, "rejected");
    assert.match(
      outcome.reason.message,
      /^Out of GPU memory: "large" needs 4096 bytes with 0 already in use/,
    );
  }
  gpu.destroyBuffer(large);
  await gpu.settled();
});

Deno.test("a program that has no memory is refused and leaves none taken, and a smaller one in its arena then runs", async () => {
  const { device } = await testGpu();
  const most = 4096;
  using gpu = await openGpu({ device: withoutMemoryFor(device, ({ size }) => size > most), autotune: false });
  using arena = new Arena(gpu);
  const compiled = (rows: number) => {
    const x = new Graph().input("x", [rows, 16]);
    const [y, z] = [activate("relu", x), activate("tanh", x)];
    const weights = (name: string) => assert.fail(name);
    return compile(gpu, [add(activate("gelu", y), activate("gelu", z))], {
      label: "program",
      weights,
      arena,
    });
  };
  for (let time = 0; time < 2; time++) {
    await assert.rejects(compiled(65), /Out of GPU memory: "[^"]+" needs 4160 bytes/);
    assert.equal(gpu.memory.bytes, 0);
    using smaller = await compiled(2);
    smaller.upload({ x: new Float32Array(32) });
    smaller.run();
    const [output] = smaller.plan.nodes.at(-1)!.outputs;
    assert.deepEqual(await smaller.read(output), new Float32Array(32));
  }
});

Deno.test("what has no memory to be read into is refused, and the device goes on", async () => {
  const { device } = await testGpu();
  using gpu = await openGpu({
    device: withoutMemoryFor(device, ({ label, size }) => label === "read x" && size > 64),
    autotune: false,
  });
  const buffer = gpu.createBuffer("x", 4096);
  await assert.rejects(
    () => gpu.read(buffer, 4096),
    /^Error: Out of GPU memory: "read x" needs 4096 bytes with 4096 already in use/,
  );
  assert.equal(gpu.memory.bytes, 4096);
  gpu.upload(buffer, Float32Array.of(1, 2));
  assert.deepEqual(new Float32Array(await gpu.read(buffer, 8)), Float32Array.of(1, 2));
});

Deno.test("a read outside of its buffer is an error of the device", async () => {
  const { device } = await testGpu();
  using gpu = await openGpu({ device, autotune: false });
  const buffer = gpu.createBuffer("x", 64);
  await assert.rejects(() => gpu.read(buffer, 64, 64), /WebGPU error on /);
  assert.throws(() => gpu.check(), /it computes nothing more: open another/);
});

Deno.test("a device that is lost says so at the next call", async () => {
  using gpu = await openGpu();
  const buffer = gpu.createBuffer("x", 64);
  gpu.device.destroy();
  await gpu.device.lost;
  await assert.rejects(() => gpu.read(buffer, 64), /GPU device was lost/);
});

Deno.test("a caller's own device, at WebGPU's default limits, gives the same bits", async () => {
  const device = await (await navigator.gpu.requestAdapter())!.requestDevice();
  using own = await openGpu({ device });
  assert.equal(own.device, device);
  const values: Values = new Map();
  const graph = new Graph();
  const y = linear(graph.weight("x", [9, 12], true), graph.weight("w", [20, 12], true));
  fillSources(graph, values);
  assert.deepEqual(await runOnGpu(own, [y], values), await runOnGpu(await testGpu(), [y], values));
});

Deno.test("without buffer reuse every tensor of the step is readable, and the outputs have the same bits", async () => {
  const { model, adapter, objective, graph, outputs } = tracedStep();
  const values: Values = new Map([
    ["ids", Float64Array.from({ length: 24 }, (_, i) => (i * 5) % 11)],
    ["lengths", Float64Array.of(8, 3, 1)],
    ["labels", Float64Array.of(1, 0, 1)],
    ["clock", Float64Array.of(5, 9)],
  ]);
  for (const [name, { data }] of [...model.weights, ...model.constants]) {
    values.set(name, Float64Array.from(data));
  }
  for (const [name, spec] of [...adapter.parameters, ...objective.parameters]) {
    values.set(name, Float64Array.from(initialise(name, spec, 3).data));
  }
  fillSources(graph, values);
  const gpu = await testGpu();
  assert.deepEqual(await runOnGpu(gpu, outputs, values, true), await runOnGpu(gpu, outputs, values));
  const planned = plan(outputs, { noReuse: true });
  assert.equal(new Set(planned.slots.values()).size, planned.slots.size);
});

Deno.test("compile refuses a tensor of another program", async () => {
  const gpu = await testGpu();
  const graph = new Graph();
  const x = graph.input("x", [4, 4]);
  using compiled = await compile(gpu, [activate("tanh", x)], {
    label: "small",
    weights: (name) => assert.fail(name),
  });
  assert.throws(() => compiled.view(activate("relu", x)), /small: ".*" is not part of this program/);
});

/** Six residual layers with dropout, and the gradients of their weights; `recompute` as in `grad`. */
function deepStep(recompute: boolean) {
  const graph = new Graph();
  const [rows, width, inner] = [24, 16, 64];
  const clock = graph.input("clock", [2], "u32");
  let x = graph.input("x", [rows, width]);
  for (let i = 0; i < 6; i++) {
    x = graph.scope(`layer.${i}`, () => {
      const up = graph.weight(`layer.${i}.up`, [inner, width], true);
      const down = graph.weight(`layer.${i}.down`, [width, inner], true);
      const dropped = dropout(activate("gelu", linear(x, up)), clock, 0.3);
      return linear(activate("tanh", dropped), down, { residual: x });
    });
  }
  const loss = sumOfSquares(x, 0.01);
  const targets = graph.nodes.filter(({ source }) => source === "trainable").map(({ outputs }) => outputs[0]);
  const options = recompute ? { recompute: layerOfPath } : {};
  return { graph, outputs: [loss, ...grad([loss], targets, options)] };
}

Deno.test("recomputation: the same bits in less memory, each layer computed twice and no more", async () => {
  const [kept, again] = [deepStep(false), deepStep(true)];
  const values: Values = new Map([["clock", Float64Array.of(3, 4)]]);
  fillSources(kept.graph, values);
  const gpu = await testGpu();
  assert.deepEqual(await runOnGpu(gpu, again.outputs, values), await runOnGpu(gpu, kept.outputs, values));
  // As in training, the gradients have their own room.
  const planned = ({ outputs }: typeof kept) => plan(outputs, { external: new Set(outputs.slice(1)) });
  const [keptPlan, againPlan] = [planned(kept), planned(again)];
  const activations = 24 * 64 * 4;
  // Without recomputation, GELU's inputs and tanh's outputs of every layer are alive at once; with it, those
  // of one layer.
  assert.ok(keptPlan.lowerBoundBytes > 6 * 2 * activations, `${keptPlan.lowerBoundBytes}`);
  assert.ok(
    keptPlan.lowerBoundBytes - againPlan.lowerBoundBytes > 4 * 2 * activations,
    `${againPlan.lowerBoundBytes}`,
  );
  const dropouts = ({ nodes }: typeof keptPlan) => nodes.filter(({ op }) => op!.name === "dropout").length;
  // Forward and backward, and forward once more.
  assert.deepEqual([dropouts(keptPlan), dropouts(againPlan)], [12, 18]);
});

Deno.test("the planner: no tensor is overwritten while it is needed, in at most 1.1 times the least possible memory", () => {
  for (const { outputs } of [tracedStep(), deepStep(false), deepStep(true)]) {
    const { nodes, slots, slotBytes, inPlace, peakBytes, lowerBoundBytes } = plan(outputs);
    const holder = new Map<number, Tensor>();
    for (const node of nodes) {
      for (const input of node.inputs) {
        const slot = slots.get(input);
        if (slot !== undefined) assert.equal(holder.get(slot), input, `${node.op!.name} at ${node.name}`);
      }
      const read = new Set(node.inputs.map((input) => slots.get(input)));
      for (const output of node.outputs) {
        const slot = slots.get(output)!;
        assert.ok(!read.has(slot) || (inPlace.has(node) && output.index === 0), "reads what it writes");
        assert.ok(slotBytes[slot] >= sizeOf(output) * 4);
        holder.set(slot, output);
      }
    }
    for (const output of outputs) assert.equal(holder.get(slots.get(output)!), output);
    assert.ok(plan(outputs, { noReuse: true }).peakBytes > 1.5 * peakBytes);
    assert.ok(
      peakBytes >= lowerBoundBytes && peakBytes <= 1.1 * lowerBoundBytes,
      `${peakBytes / lowerBoundBytes}`,
    );
  }
});

Deno.test("layers by path", () => {
  const layers = ["layer.0.attention.query", "encoder.layer.11", "layer.3.mlp.experts.2.up", "pooler", ""];
  assert.deepEqual(layers.map(layerOfPath), ["layer.0", "encoder.layer.11", "layer.3", undefined, undefined]);
});

Deno.test("golden: the planned step and its rendered kernels (deno test -A tests/engine_test.ts -- --update)", async () => {
  const { outputs } = tracedStep();
  const planned = plan(outputs);
  const kernels = new Map(
    planned.nodes.flatMap((node) => node.op!.dispatches(node, planned.inPlace.has(node), plainDevice))
      .map(({ kernel }) => [kernel.label, kernel.code]),
  );
  const text = [
    dumpPlan(planned, plainDevice),
    ...[...kernels].map(([label, code]) => `\n======== ${label}\n${code}`),
  ]
    .join("");
  const path = new URL("golden/tiny_bora_step.txt", import.meta.url);
  if (Deno.args.includes("--update")) await Deno.writeTextFile(path, text);
  assert.equal(text, await Deno.readTextFile(path));
});

/** Places in a kernel's text that write to a storage buffer; each call of `store` is one. */
function writesOf({ code, bindings }: Kernel): number {
  const outputs = bindings.filter(({ type }) => type === "storage").map(({ variable }) => variable);
  const direct = new RegExp(`^ +(${outputs.join("|")})\\[.*\\] [+]?= `, "gm");
  return [...code.matchAll(direct), ...code.matchAll(/^ +store\(/gm)].length;
}

Deno.test("kernels for subgroups write in few places, each of which takes some drivers long to compile", () => {
  const model = unloadedEncoder("roberta-base", { ...publishedEncoder("roberta-base")!, vocabulary: 100 });
  const adapter = attach(model, lora, { r: 8, alpha: 16, target: ["query", "value"] });
  const objective = classification.of(model, { texts: 1, classes: 2 });
  const { graph, losses, loss } = traceStep(
    model,
    adapter,
    objective,
    { examples: 16, length: 64, rows: 0 },
    true,
  );
  const targets = graph.nodes.filter((node) => node.source === "trainable").map((node) => node.outputs[0]);
  const { nodes, inPlace } = plan([loss, ...grad(losses, targets)]);
  const software = { subgroupSize: 8, software: true };
  const kernels = nodes.flatMap((node) => node.op!.dispatches(node, inPlace.has(node), software))
    .map(({ kernel }) => kernel).filter(({ label }) => /^(matmul|attention)_subgroup /.test(label));
  for (const kind of ["LOW_RANK=0", "LOW_RANK=1", "PASS=0", "PASS=2", "PASS=3"]) {
    assert.ok(kernels.some(({ label }) => label.includes(kind)), kind);
  }
  assert.deepEqual(kernels.filter((kernel) => writesOf(kernel) > 20).map(({ label }) => label), []);
});
