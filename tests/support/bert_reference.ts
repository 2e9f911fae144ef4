/** `fixtures/bert_reference.json`: PyTorch's logits, loss and gradients on seeded checkpoints, and how ours differ from them. */

import assert from "node:assert/strict";
import { attach } from "../../lib/adapters/attach.ts";
import { lora } from "../../lib/adapters/lora.ts";
import { loadEncoder } from "../../lib/models/load_encoder.ts";
import { choice } from "../../lib/objectives/choice.ts";
import { classification } from "../../lib/objectives/classification.ts";
import type { Encoded } from "../../lib/objectives/objective.ts";
import { Trainer } from "../../lib/train/trainer.ts";
import { relativeError } from "../../tasks/conformance/op_errors.ts";
import fixture from "../fixtures/bert_reference.json" with { type: "json" };
import { testGpu } from "./ops.ts";
import { seeded } from "./seeded_checkpoint.ts";

/** A checkpoint, a batch, and what PyTorch makes of them. */
export interface Case {
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

/** Small checkpoints, by name. */
export const cases: Readonly<Record<string, Case>> = fixture.cases;

/** The same at RoBERTa-base's full size. */
export const fullSize: Case = fixture["RoBERTa-base"];

/** The adapter of every case. */
export const loraOptions = { ...fixture.lora, target: fixture.targets };

/** Σ_i g_i cos i, and ‖g‖. */
function probe(values: Float32Array): number[] {
  const sum = (of: (value: number, i: number) => number) =>
    values.reduce((total, value, i) => total + of(value, i), 0);
  return [sum((value, i) => value * Math.cos(i)), Math.sqrt(sum((value) => value ** 2))];
}

/** A trainer on the case's one batch, its adapter and head seeded by name. */
export async function trainerFor(
  folder: string,
  { shape, outputs, options, examples }: Case,
): Promise<Trainer> {
  const model = await loadEncoder(folder);
  const adapter = attach(model, lora, loraOptions);
  const kind = shape === "choice" ? choice : classification;
  const objective = kind.of(model, { texts: shape === "single" ? 1 : 1 + options, classes: outputs });
  const trainer = new Trainer({
    gpu: await testGpu(),
    model,
    adapter,
    objective,
    examples: encoded(examples),
    learningRate: 1e-3,
    epochs: 1,
    batchSize: examples.length,
    warmupRatio: 0,
    seed: 0,
  });
  for (const [name, { shape }] of await trainer.weights()) trainer.trainable.write(name, seeded(name, shape));
  return trainer;
}

/** The case's texts, as a trainer takes them. */
export function encoded(examples: Case["examples"]): Encoded[] {
  return examples.map(({ texts, seconds, label }) => ({
    texts,
    seconds: seconds?.map((second) => second ?? undefined),
    label,
  }));
}

/** Relative errors of the logits, the loss and every gradient of the first step, by name. */
export async function errorsOf(trainer: Trainer, expected: Case): Promise<Map<string, number>> {
  const gpu = await testGpu();
  const scores = await trainer.predict(encoded(expected.examples));
  const [{ loss }] = await trainer.epoch();
  assert.deepEqual(trainer.trainable.names.toSorted(), Object.keys(expected.gradients).toSorted());
  const errors = new Map([
    ["logits", relativeError(scores.flatMap((row) => [...row]), expected.logits)],
    ["loss", relativeError([loss], [expected.loss])],
  ]);
  for (const [name, values] of Object.entries(expected.gradients)) {
    const { buffer, offset, bytes } = trainer.trainable.gradientView(name);
    const gradient = new Float32Array(await gpu.read(buffer, bytes, offset));
    // Adding the same value to all scores of a choice changes nothing: the gradient is 0 except for rounding.
    const floor = expected.shape === "choice" && name === "classifier.out_proj.bias" ? 1e-2 : undefined;
    errors.set(
      `gradient of ${name}`,
      relativeError(expected.whole ? gradient : probe(gradient), values, floor),
    );
  }
  return errors;
}
