/**
 * Soaks a small model and prints the result as JSON; with `--leak` a buffer and an open file are left behind
 * after every turn. Runs in its own process, for `soak_test.ts`: it counts that process's files and memory.
 */

import { attach } from "../../lib/adapters/attach.ts";
import { bora } from "../../lib/adapters/bora.ts";
import { openGpu } from "../../lib/gpu/device.ts";
import { classification } from "../../lib/objectives/classification.ts";
import { tinyEncoder } from "../../tasks/conformance/tiny_encoder.ts";
import { soak } from "../../tasks/soak_run.ts";

const [turnsEach, leak] = [Number(Deno.args[0]), Deno.args[1] === "--leak"];
using gpu = await openGpu();
const model = tinyEncoder();
const soaked = {
  model,
  adapter: attach(model, bora, { r: 2, blocks: 4, target: ["query", "value"], dropout: 0.1 }),
  objective: classification.of(model, { texts: 1, classes: 2 }),
  examples: Array.from({ length: 60 }, (_, i) => ({
    label: i % 2,
    texts: [Array.from({ length: 1 + i * 7 % 16 }, (_, j) => (i + j) % 11)],
  })),
};
const plan = { batchSizes: [3, 2], stepsATurn: 10, turnsEach };
const soaking = await soak(gpu, soaked, plan, () => {
  if (!leak) return;
  gpu.createBuffer("left behind", 16);
  Deno.openSync(new URL(import.meta.url));
});
console.log(JSON.stringify(soaking));
