/** Whole training steps of every method against PyTorch's: loss, every gradient, clipping, and AdamW with decay. */

import assert from "node:assert/strict";
import { attach, type AttachOptions } from "../lib/adapters/attach.ts";
import { methodByName, methods } from "../lib/adapters/registry.ts";
import type { Model } from "../lib/models/model.ts";
import { classification } from "../lib/objectives/classification.ts";
import { Trainer } from "../lib/train/trainer.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import fixture from "./fixtures/pytorch_steps.json" with { type: "json" };
import { testGpu } from "./support/ops.ts";

type Tensors = Readonly<Record<string, number[]>>;

interface Steps {
  readonly options: Readonly<Record<string, number>>;
  /** The adapter and the head; a trained base starts from the fixture's. */
  readonly start: Tensors;
  readonly losses: readonly number[];
  readonly norms: readonly number[];
  readonly firstGradients: Tensors;
  /** Every trained weight, and those the adapter was merged into on the way. */
  readonly end: Tensors;
}

const objective = (model: Model) => classification.of(model, { texts: 1, classes: 2 });
const examples = fixture.texts.map((text, i) => ({ texts: [text], label: fixture.labels[i] }));
const base: Tensors = fixture.base;

/** The tiny encoder with the fixture's weights. */
function fixtureEncoder(): Model {
  const model = tinyEncoder();
  for (const [name, { data }] of [...model.weights, ...model.constants]) data.set(base[name]);
  return model;
}

/** A trainer on one batch an epoch, started from the fixture's adapter. */
async function trainerFor(method: string, steps: Steps): Promise<Trainer> {
  const gpu = await testGpu();
  const model = fixtureEncoder();
  const options: AttachOptions = { ...steps.options, target: fixture.targets };
  const adapter = attach(model, methodByName(method), options);
  const trainer = new Trainer({
    gpu,
    model,
    adapter,
    objective: objective(model),
    examples,
    learningRate: 1e-2,
    epochs: steps.losses.length,
    batchSize: examples.length,
    warmupRatio: 0,
    seed: 0,
    beta1: 0.9,
    beta2: 0.99,
    epsilon: 1e-4,
    weightDecay: 0.1,
    maxNorm: 0.5,
  });
  const start = { ...base, ...steps.start };
  assert.deepEqual(trainer.trainable.names.toSorted(), Object.keys(steps.firstGradients).toSorted());
  for (const name of trainer.trainable.names) trainer.trainable.write(name, Float32Array.from(start[name]));
  return trainer;
}

/**
 * Checks the first step's gradients. The gradient of a key's bias is 0, because softmax does not depend on
 * it; in float32 it is rounding noise below 1e-8.
 */
async function checkGradients({ trainable }: Trainer, expected: Tensors): Promise<void> {
  const gpu = await testGpu();
  for (const [name, values] of Object.entries(expected)) {
    const { buffer, offset, bytes } = trainable.gradientView(name);
    const gradient = new Float32Array(await gpu.read(buffer, bytes, offset));
    const error = relativeError(gradient, values, name === "key.bias" ? 1e-3 : undefined);
    assert.ok(error <= 1e-5, `gradient of ${name}: relative error ${error}`);
  }
}

Deno.test("the PyTorch fixture has no steps of a method that no longer exists", () => {
  const names = methods.map(({ name }) => name);
  assert.deepEqual(Object.keys(fixture.methods).filter((name) => !names.includes(name)), []);
});

for (const [name, { options, start }] of Object.entries<Steps>(fixture.methods)) {
  Deno.test(`${name}: its trainable parameters are as many as the formula's in PyTorch`, () => {
    const model = fixtureEncoder();
    const method = methodByName(name);
    const adapter = attach(model, method, { ...options, target: fixture.targets } as AttachOptions);
    const own = Object.entries(start).filter(([tensor]) => !tensor.startsWith("head."));
    const counted = method.trainsBase
      ? [...model.weights].map(([, { data }]) => data)
      : own.map(([, data]) => data);
    assert.equal(adapter.trainableParameters, counted.reduce((sum, { length }) => sum + length, 0));
  });
}

for (const [method, steps] of Object.entries<Steps>(fixture.methods)) {
  Deno.test(`${method}: three steps agree with PyTorch's`, async () => {
    using trainer = await trainerFor(method, steps);
    assert.ok(steps.norms.some((norm) => norm > 0.5), "clipping is exercised");
    for (const [i, loss] of steps.losses.entries()) {
      const [record] = await trainer.epoch();
      assert.ok(
        Math.abs(record.loss - loss) <= 1e-5 * loss,
        `step ${i}: loss ${record.loss}, PyTorch ${loss}`,
      );
      assert.ok(Math.abs(record.gradientNorm - steps.norms[i]) <= 1e-4 * steps.norms[i], `step ${i}: norm`);
      if (i === 0) await checkGradients(trainer, steps.firstGradients);
    }
    const end = await trainer.weights();
    assert.deepEqual([...end.keys()].toSorted(), Object.keys(steps.end).toSorted());
    for (const [name, expected] of Object.entries(steps.end)) {
      const error = relativeError(end.get(name)!.data, expected);
      assert.ok(error <= 2e-5, `${name} after the steps: relative error ${error}`);
    }
  });
}
