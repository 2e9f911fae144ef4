/** A short soak: nothing grows from step to step, and a leak is found. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { type Gpu, openGpu } from "../lib/gpu/device.ts";
import { verdictsOn } from "../tasks/soak_page.ts";
import { type Sample, soak } from "../tasks/soak_run.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";

const counted = ["GPU buffers, bytes", "GPU buffers", "pipelines", "open files"];

/** Steps of two batch sizes and lengths, 20 of them for each of `turnsEach`; `afterTurn` is given the device after each ten. */
async function shortSoak(turnsEach: number, afterTurn: (gpu: Gpu) => void = () => {}) {
  using gpu = await openGpu();
  const model = tinyEncoder();
  const soaked = {
    model,
    adapter: attach(model, bora, { r: 2, blocks: 4, target: ["query", "value"], dropout: 0.1 }),
    head: { shape: "single", objective: "classification", texts: 1, outputs: 2 } as const,
    examples: Array.from({ length: 60 }, (_, i) => ({
      label: i % 2,
      texts: [Array.from({ length: 1 + i * 7 % 16 }, (_, j) => (i + j) % 11)],
    })),
  };
  const plan = { batchSizes: [3, 2], stepsATurn: 10, turnsEach };
  return await soak(gpu, soaked, plan, () => afterTurn(gpu));
}

const growing = (samples: readonly Sample[]) =>
  verdictsOn(samples).filter(({ flat }) => !flat).map(({ measure }) => measure.name);

Deno.test("160 steps on batches of changing sizes and lengths leave no buffer, pipeline or open file behind", async () => {
  const { samples, stepsOfLength } = await shortSoak(8);
  assert.deepEqual(samples.map(({ step }) => step), Array.from({ length: 16 }, (_, i) => 10 * (i + 1)));
  assert.deepEqual(Object.keys(stepsOfLength), ["8", "16"]);
  assert.equal(stepsOfLength[8] + stepsOfLength[16], 160);
  for (const { measure, first, most } of verdictsOn(samples)) {
    if (counted.includes(measure.name)) assert.equal(most, first, measure.name);
  }
  // Once V8 has collected its garbage, a step of this model leaves nothing behind.
  const heap = verdictsOn(samples).find(({ measure }) => measure.name === "V8 heap in use")!;
  assert.ok(heap.flat, `the heap grows by ${heap.growth} bytes in 1,000 steps`);
});

Deno.test("the verdict finds a leak of one buffer, or one file, per turn", async () => {
  const files: Deno.FsFile[] = [];
  const { samples } = await shortSoak(3, (gpu) => {
    gpu.createBuffer("left behind", 16);
    files.push(Deno.openSync(new URL(import.meta.url)));
  });
  for (const file of files) file.close();
  assert.deepEqual(growing(samples).filter((name) => counted.includes(name)), [
    "GPU buffers, bytes",
    "GPU buffers",
    "open files",
  ]);
});
