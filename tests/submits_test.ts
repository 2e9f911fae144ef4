/** Programs with more work than a slow GPU does in a submit's time are submitted in parts, in order and with the same bits. */

import assert from "node:assert/strict";
import { openGpu } from "../lib/gpu/device.ts";
import { type DeviceTraits, renderKernel } from "../lib/gpu/kernel.ts";
import { inSubmits, submitWork } from "../lib/gpu/passes.ts";
import { Profile } from "../lib/gpu/profiler.ts";
import { buildProgram } from "../lib/gpu/program.ts";
import { nanosecondsPerTick } from "../lib/gpu/timestamps.ts";
import { plan } from "../lib/graph/plan.ts";
import { traceCase } from "../tasks/conformance/op_errors.ts";
import { opCases } from "../tasks/conformance/op_cases.ts";
import { hardware } from "../tasks/kernels/programs.ts";

const devices: readonly DeviceTraits[] = [{ subgroupSize: 8, software: true }, hardware];

const dispatchesOf = (...shares: number[]) =>
  shares.map((share) => share === 0 ? {} : { multiplyAdds: share * submitWork });

Deno.test("a submit has at most its share of work, or one dispatch that is more", () => {
  const cut = (...shares: number[]) => {
    const dispatches = dispatchesOf(...shares);
    const submits = inSubmits(dispatches);
    assert.deepEqual(submits.flat(), dispatches);
    return submits.map(({ length }) => length);
  };
  assert.deepEqual(cut(), [0]);
  assert.deepEqual(cut(0, 0, 0), [3]);
  assert.deepEqual(cut(0.5, 0, 0.5, 0, 0.25, 0), [4, 2]);
  assert.deepEqual(cut(0.75, 0.5, 0.5), [1, 2]);
  assert.deepEqual(cut(0, 3, 0, 0.1, 3), [2, 2, 1]);
});

/** x = x · 3 + number, which tells every order from another. */
const step = renderKernel({
  name: "step",
  text: "struct Params { number: f32, }\n@group(0) @binding(0) var<uniform> params: Params;\n" +
    "@group(0) @binding(1) var<storage, read_write> x: array<f32>;\n" +
    "@compute @workgroup_size(1) fn main() { x[0] = x[0] * 3.0 + params.number; }",
});

Deno.test("in parts the dispatches run in order, and the copies after the last; timed as well", async () => {
  using gpu = await openGpu();
  const [x, copied] = ["x", "copied"].map((name) => gpu.createBuffer(name, 4));
  const view = { buffer: x, offset: 0, bytes: 4 };
  const calls = dispatchesOf(1, 0, 1, 2, 0).map((work, number) => ({
    ...{ label: "step", kernel: step, params: { number }, views: { x: view }, grid: [1, 1, 1] as const },
    ...work,
  }));
  using program = await buildProgram(gpu, "parts", calls);
  let submits = 0;
  const { queue } = gpu.device;
  const submit = queue.submit.bind(queue);
  queue.submit = (buffers) => (submits++, submit(buffers));
  const stepped = (x: number) => [0, 1, 2, 3, 4].reduce((sum, number) => sum * 3 + number, x);
  program.replay([{ from: view, to: copied, toOffset: 0 }]);
  assert.equal(submits, 4);
  assert.deepEqual([...new Float32Array(await gpu.read(copied, 4))], [stepped(0)]);
  await nanosecondsPerTick(gpu);
  submits = 0;
  const profile = new Profile();
  await program.profile(profile);
  queue.submit = submit;
  assert.ok(submits > 4, `${submits}`);
  assert.deepEqual(profile.timings.map(({ milliseconds }) => milliseconds >= 0), Array(5).fill(true));
  assert.deepEqual([...new Float32Array(await gpu.read(x, 4))], [stepped(stepped(0))]);
});

Deno.test("the launches of a product have its multiply-adds: whole, in pieces of k, and in parts that are joined", () => {
  const seen = new Set<number>();
  for (const device of devices) {
    for (const op of opCases) {
      for (const node of plan(traceCase(op).outputs, { device }).nodes) {
        if (node.op!.name !== "product") continue;
        const launches = node.op!.dispatches(node, false, device);
        const sum = launches.reduce((sum, { multiplyAdds = 0 }) => sum + multiplyAdds, 0);
        assert.equal(sum, node.op!.variants!(node, device).multiplyAdds);
        seen.add(launches.length);
      }
    }
  }
  assert.ok(seen.has(1) && seen.has(2), `${[...seen]} launches`);
});
