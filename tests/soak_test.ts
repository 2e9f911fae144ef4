/** A short soak: nothing grows from step to step, and a leak is found. */

import assert from "node:assert/strict";
import { verdictsOn } from "../tasks/soak_page.ts";
import type { Soak } from "../tasks/soak_run.ts";

const counted = ["GPU buffers, bytes", "GPU buffers", "pipelines", "open files"];

/**
 * Steps of two batch sizes and lengths, 20 of them for each of `turnsEach`, in a process of their own: beside
 * them in this one, other tests open files.
 */
async function shortSoak(turnsEach: number, ...options: string[]): Promise<Soak> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--allow-all", "--preload=tasks/vulkan_only.ts", "tests/support/short_soak.ts"],
      ...[String(turnsEach), ...options],
    ],
    cwd: new URL("..", import.meta.url),
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

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
  const { samples } = await shortSoak(3, "--leak");
  const growing = verdictsOn(samples).filter(({ flat }) => !flat).map(({ measure }) => measure.name);
  assert.deepEqual(growing.filter((name) => counted.includes(name)), [
    "GPU buffers, bytes",
    "GPU buffers",
    "open files",
  ]);
});
