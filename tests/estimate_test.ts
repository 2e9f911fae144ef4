/** What a run will take, against what it took and against counts made by hand. */

import assert from "node:assert/strict";
import { type Adapter, attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { methodByName } from "../lib/adapters/registry.ts";
import { taskByName } from "../lib/data/registry.ts";
import type { Split, Task } from "../lib/data/task.ts";
import type { Encoder } from "../lib/models/model.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { encodeExamples, fineTune, headOf } from "../lib/train/fine_tune.ts";
import { estimateTraining } from "../lib/train/estimate.ts";
import type { TrainOptions } from "../lib/train/trainer.ts";
import { FrozenWeights } from "../lib/train/weights.ts";
import { testGpu } from "./support/ops.ts";
import { attachPooled } from "./support/pool.ts";
import { tinyEncoder } from "./support/tiny_encoder.ts";

const options: TrainOptions = { learningRate: 3e-3, epochs: 2, batchSize: 4, warmupRatio: 0.03, seed: 0 };

/** Runs the cell, checkpoints and all, and asserts that it took what the estimate says. */
async function assertEstimated(model: Encoder, adapter: Adapter, task: Task, split: Split): Promise<void> {
  const gpu = await testGpu();
  using frozen = FrozenWeights.of(gpu, model);
  gpu.resetPeak();
  const checkpointing = { path: `${await Deno.makeTempDir()}/checkpoint`, every: 2, cell: "a cell" };
  const { steps, peakBufferBytes } = await fineTune(
    ...[gpu, model, frozen, adapter, task, split, options, {}, checkpointing] as const,
  );
  const encode = (examples: Split["dev"]) => encodeExamples(model, task, examples);
  const estimate = await estimateTraining(
    ...[model, adapter, headOf(task, split.train[0]), encode(split.train)] as const,
    [split.dev, ...Object.values(split.furtherDev ?? {})].map(encode),
    options,
    gpu.traits,
  );
  const name = `${task.name}, ${adapter.method.name}`;
  assert.deepEqual([estimate.steps, estimate.peakBytes], [steps, peakBufferBytes], name);
}

/** Letters as a task of the given shape: 11 examples to train on, and as many and 3 times as many to evaluate. */
function letters(shape: Task["shape"], texts: number): { task: Task; split: Split } {
  const examples = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      id: `${i}`,
      texts: Array.from({ length: texts }, (_, t) => "abcdefghijkl".slice(0, 1 + (i + t) % 12)),
      label: i % 2,
    }));
  const task: Task = {
    ...taskByName("sentiment"),
    name: `${shape} of ${texts}`,
    shape,
    labels: shape === "choice" ? [] : ["0", "1"],
  };
  return { task, split: { train: examples(11), dev: examples(11), furtherDev: { further: examples(33) } } };
}

Deno.test("an estimate has the steps and the bytes of the run, whatever the method and the task's shape", async () => {
  const model = tinyEncoder();
  for (const [shape, texts] of [["single", 1], ["pair", 2], ["choice", 4]] as const) {
    const { task, split } = letters(shape, texts);
    for (const name of ["BoRA", "DoRA", "Full fine-tuning", "Head only"]) {
      const adapter = attachPooled(model, methodByName(name), ["query", "value"]);
      await assertEstimated(model, adapter, task, split);
    }
  }
});

Deno.test("an estimate of USE-lite on real texts has the steps and the bytes of the run", async () => {
  const model = await loadUseLite();
  const task = taskByName("sentiment");
  const { train, dev } = await task.load();
  const adapter = attach(model, bora, { r: 8, blocks: 16, target: ["query", "value"], dropout: 0.05 });
  await assertEstimated(model, adapter, task, { train: train.slice(0, 10), dev: dev.slice(0, 6) });
});
