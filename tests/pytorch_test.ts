/** Whole training steps against PyTorch's: loss, every adapter gradient, clipping, and AdamW's updates with decay. */

import assert from "node:assert/strict";
import { attach, type AttachOptions } from "../lib/adapters/attach.ts";
import { methodByName } from "../lib/adapters/registry.ts";
import type { Encoder } from "../lib/models/model.ts";
import { Trainer } from "../lib/train/trainer.ts";
import fixture from "./fixtures/pytorch_steps.json" with { type: "json" };
import { relativeError, testGpu } from "./support/ops.ts";
import { tinyEncoder } from "./support/tiny_encoder.ts";

interface Steps {
  readonly start: Readonly<Record<string, number[]>>;
  readonly losses: readonly number[];
  readonly norms: readonly number[];
  readonly firstGradients: Readonly<Record<string, number[]>>;
  readonly end: Readonly<Record<string, number[]>>;
}

const head = { shape: "single", objective: "classification", texts: 1, outputs: 2 } as const;
const examples = fixture.texts.map((text, i) => ({ texts: [text], label: fixture.labels[i] }));
const base: Readonly<Record<string, number[]>> = { ...fixture.base, positions: fixture.positions };

/** The tiny encoder with the fixture's weights. */
function fixtureEncoder(): Encoder {
  const model = tinyEncoder();
  for (const [name, { data }] of [...model.weights, ...model.constants]) data.set(base[name]);
  return model;
}

/** A trainer on one batch an epoch, started from the fixture's adapter. */
async function trainerFor(method: string, steps: Steps): Promise<Trainer> {
  const gpu = await testGpu();
  const model = fixtureEncoder();
  const pool = { r: 2, alpha: 4, blocks: 4 };
  const own = Object.entries(pool).filter(([name]) => name in methodByName(method).defaults);
  const options = { ...Object.fromEntries(own), target: ["query", "value"] } as AttachOptions;
  const adapter = attach(model, methodByName(method), options);
  const trainer = new Trainer(gpu, model, adapter, head, examples, {
    learningRate: 1e-2,
    epochs: steps.losses.length,
    batchSize: examples.length,
    warmupRatio: 0,
    seed: 0,
    beta1: 0.9,
    beta2: 0.99,
    epsilon: 1e-6,
    weightDecay: 0.1,
    maxNorm: 0.5,
  });
  assert.deepEqual(trainer.trainable.names.toSorted(), Object.keys(steps.start).toSorted());
  for (const [name, values] of Object.entries(steps.start)) {
    const { buffer, offset } = trainer.trainable.view(name)!;
    gpu.upload(buffer, Float32Array.from(values), offset);
  }
  return trainer;
}

for (const [method, steps] of Object.entries<Steps>(fixture.methods)) {
  Deno.test(`${method}: three steps agree with PyTorch's`, async () => {
    const gpu = await testGpu();
    using trainer = await trainerFor(method, steps);
    assert.ok(steps.norms.some((norm) => norm > 0.5), "clipping is exercised");
    for (const [i, loss] of steps.losses.entries()) {
      const [record] = await trainer.epoch(i);
      assert.ok(
        Math.abs(record.loss - loss) <= 1e-5 * loss,
        `step ${i}: loss ${record.loss}, PyTorch ${loss}`,
      );
      assert.ok(Math.abs(record.gradientNorm - steps.norms[i]) <= 1e-4 * steps.norms[i], `step ${i}: norm`);
      if (i > 0) continue;
      for (const [name, expected] of Object.entries(steps.firstGradients)) {
        const { buffer, offset, bytes } = trainer.trainable.gradientView(name);
        const error = relativeError(new Float32Array(await gpu.read(buffer, bytes, offset)), expected);
        assert.ok(error <= 1e-5, `gradient of ${name}: relative error ${error}`);
      }
    }
    const end = await trainer.trainable.read();
    for (const [name, expected] of Object.entries(steps.end)) {
      const error = relativeError(end.get(name)!, expected);
      assert.ok(error <= 2e-5, `${name} after the steps: relative error ${error}`);
    }
  });
}
