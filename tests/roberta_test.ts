/** RoBERTa and BERT from Hugging Face folders: against PyTorch, in every layout, with adapters in PEFT's names, and refused. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { lora } from "../lib/adapters/lora.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import type { Encoded } from "../lib/train/batches.ts";
import type { HeadShape } from "../lib/train/step.ts";
import { Trainer } from "../lib/train/trainer.ts";
import fixture from "./fixtures/bert_reference.json" with { type: "json" };
import { relativeError, testGpu } from "./support/ops.ts";
import { type CheckpointOptions, seeded, writeCheckpoint } from "./support/seeded_checkpoint.ts";

interface Case {
  readonly config: Readonly<Record<string, unknown>>;
  readonly shape: string;
  readonly outputs: number;
  /** Sequences an example. */
  readonly options: number;
  readonly examples: readonly {
    readonly texts: readonly number[][];
    readonly seconds?: readonly (number | null)[];
    readonly label: number;
  }[];
  readonly logits: readonly number[];
  readonly loss: number;
  /** Whether gradients are kept entry by entry; else as two probes of them. */
  readonly whole: boolean;
  readonly gradients: Readonly<Record<string, readonly number[]>>;
}

const cases: Readonly<Record<string, Case>> = fixture.cases;

/** The checkpoint of a configuration in a temporary folder, for the time of `use`. */
async function withCheckpoint<T>(
  config: Case["config"],
  options: CheckpointOptions,
  use: (folder: string) => Promise<T>,
): Promise<T> {
  const parent = await Deno.makeTempDir();
  try {
    await writeCheckpoint(`${parent}/encoder`, config, options);
    return await use(`${parent}/encoder`);
  } finally {
    await Deno.remove(parent, { recursive: true });
  }
}

/** Σ_i g_i cos i, and ‖g‖. */
function probe(values: Float32Array): number[] {
  const sum = (of: (value: number, i: number) => number) =>
    values.reduce((total, value, i) => total + of(value, i), 0);
  return [sum((value, i) => value * Math.cos(i)), Math.sqrt(sum((value) => value ** 2))];
}

/** A trainer on the case's one batch, its adapter and head seeded by name. */
async function trainerFor(folder: string, { shape, outputs, options, examples }: Case): Promise<Trainer> {
  const model = await loadEncoder(folder);
  const adapter = attach(model, lora, { ...fixture.lora, target: fixture.targets });
  const head = {
    shape,
    objective: "classification",
    texts: shape === "single" ? 1 : 1 + options,
    outputs,
  } as HeadShape;
  const trainer = new Trainer(await testGpu(), model, adapter, head, encoded(examples), {
    learningRate: 1e-3,
    epochs: 1,
    batchSize: examples.length,
    warmupRatio: 0,
    seed: 0,
  });
  for (const [name, { shape }] of await trainer.weights()) trainer.trainable.write(name, seeded(name, shape));
  return trainer;
}

function encoded(examples: Case["examples"]): Encoded[] {
  return examples.map(({ texts, seconds, label }) => ({
    texts,
    seconds: seconds?.map((second) => second ?? undefined),
    label,
  }));
}

for (const [name, expected] of Object.entries(cases)) {
  Deno.test(`${name}: logits, loss and every gradient of a step agree with PyTorch's to 1e-4`, () =>
    withCheckpoint(expected.config, {}, async (folder) => {
      const gpu = await testGpu();
      using trainer = await trainerFor(folder, expected);
      const scores = await trainer.predict(encoded(expected.examples));
      assert.ok(relativeError(scores.flatMap((row) => [...row]), expected.logits) <= 1e-4);
      const [{ loss }] = await trainer.epoch(0);
      assert.ok(
        Math.abs(loss - expected.loss) <= 1e-4 * expected.loss,
        `loss ${loss}, PyTorch ${expected.loss}`,
      );
      assert.deepEqual(trainer.trainable.names.toSorted(), Object.keys(expected.gradients).toSorted());
      for (const [name, values] of Object.entries(expected.gradients)) {
        const { buffer, offset, bytes } = trainer.trainable.gradientView(name);
        const gradient = new Float32Array(await gpu.read(buffer, bytes, offset));
        // What is added to all scores of a choice alike changes nothing: its gradient is 0 but for rounding.
        const floor = expected.shape === "choice" && name === "classifier.out_proj.bias" ? 1e-2 : undefined;
        const error = relativeError(expected.whole ? gradient : probe(gradient), values, floor);
        assert.ok(error <= 1e-4, `gradient of ${name}: relative error ${error}`);
      }
    }));
}
