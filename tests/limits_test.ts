/** Every kernel keeps to WebGPU's default limits, which are the most that a browser's device need have. */

import assert from "node:assert/strict";
import { plainDevice, renderKernel } from "../lib/gpu/kernel.ts";
import { buildProgram } from "../lib/gpu/program.ts";
import { plan } from "../lib/graph/plan.ts";
import { runTraining, trainingCases } from "../tasks/conformance/run.ts";
import { defaultLimits, limitsOf, openAtDefaultLimits } from "../tasks/conformance/default_limits.ts";
import { opCases } from "../tasks/conformance/op_cases.ts";
import { traceCase } from "../tasks/conformance/op_errors.ts";

const gpu = await openAtDefaultLimits((await navigator.gpu.requestAdapter())!);

Deno.test("the device has WebGPU's default limits and no more", () => {
  assert.deepEqual(limitsOf(gpu), defaultLimits);
});

Deno.test("every op's kernels compile at the default limits, with subgroups and without", async () => {
  for (const op of opCases) {
    const { nodes, inPlace } = plan(traceCase(op).outputs);
    for (const traits of [gpu.traits, plainDevice]) {
      const dispatches = nodes.flatMap((node) => node.op!.dispatches(node, inPlace.has(node), traits));
      for (const { kernel } of dispatches) await gpu.pipelines.get(kernel);
    }
  }
  assert.ok(gpu.pipelines.size > 100, `${gpu.pipelines.size} kernels`);
});

for (const own of trainingCases) {
  Deno.test(`${own.name}: at the default limits every step's loss is float64's`, async () => {
    const result = await runTraining(gpu, own);
    assert.ok("losses" in result, JSON.stringify(result));
    assert.ok(result.error > 0 && result.error <= result.tolerance, `off by ${result.error}`);
  });
}

/** A kernel that keeps to the limits exactly, or passes one of them. */
function greedyKernel(changes: { buffers?: number; invocations?: number; vectors?: number } = {}) {
  const { buffers = 8, invocations = 256, vectors = 1024 } = changes;
  const names = Array.from({ length: buffers }, (_, i) => `b${i}`);
  const declared = names.map((name, i) =>
    `@group(0) @binding(${i}) var<storage, read_write> ${name}: array<f32>;`
  );
  const text = `alias Quad = vec4f;
${declared.join("\n")}
var<workgroup> shared_quads: array<Quad, ${vectors}>;
@compute @workgroup_size(${invocations / 4}, 4, 1)
fn main(@builtin(local_invocation_index) lane: u32) {
  shared_quads[lane] = vec4f(1.0);
  ${names.map((name) => `${name}[lane] = shared_quads[lane].x;`).join("\n  ")}
}`;
  return renderKernel({ name: "greedy", text });
}

Deno.test("a kernel that asks for more is refused, by the limit's name; one that asks for all of them is not", async () => {
  await gpu.pipelines.get(greedyKernel());
  const refused: [Parameters<typeof greedyKernel>[0], RegExp][] = [
    [{ buffers: 9 }, /greedy needs maxStorageBuffersPerShaderStage 9; this device has 8/],
    [{ invocations: 260 }, /greedy needs maxComputeInvocationsPerWorkgroup 260; this device has 256/],
    [{ vectors: 1025 }, /greedy needs maxComputeWorkgroupStorageSize 16400; this device has 16384/],
  ];
  for (const [changes, message] of refused) {
    await assert.rejects(() => gpu.pipelines.get(greedyKernel(changes)), message);
  }
});

Deno.test("workgroup memory of an unknown type is refused, not ignored", async () => {
  const text =
    "struct S { a: f32, }\nvar<workgroup> s: S;\n@compute @workgroup_size(1) fn main() { s.a = 1.0; }";
  const kernel = renderKernel({ name: "unknown", text });
  await assert.rejects(() => gpu.pipelines.get(kernel), /maxComputeWorkgroupStorageSize NaN/);
});

Deno.test("a dispatch of more workgroups than a side may have is refused before it is recorded", async () => {
  const kernel = renderKernel({
    name: "nothing",
    text: "@group(0) @binding(0) var<storage, read_write> b: array<f32>;\n" +
      "@compute @workgroup_size(1) fn main() { b[0] = 1.0; }",
  });
  const buffer = gpu.createBuffer("b", 4);
  const call = (x: number) => ({
    label: "long",
    kernel,
    params: {},
    views: { b: { buffer, offset: 0, bytes: 4 } },
    grid: [1, x, 1] as const,
  });
  (await buildProgram(gpu, "widest", [call(65_535)]))[Symbol.dispose]();
  await assert.rejects(
    () => buildProgram(gpu, "wider", [call(65_536)]),
    /wider: long needs 1×65536×1 workgroups, and no side may have more than 65535: use a smaller batch/,
  );
  gpu.destroyBuffer(buffer);
});

Deno.test("a buffer is bound up to 128 MiB and refused beyond", () => {
  gpu.destroyBuffer(gpu.createBuffer("largest", defaultLimits.maxStorageBufferBindingSize));
  assert.throws(
    () => gpu.createBuffer("too large", defaultLimits.maxStorageBufferBindingSize + 1),
    /"too large" needs 134217744 bytes; .* binds at most 134217728/,
  );
});
