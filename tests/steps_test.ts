/**
 * A training step of every family of encoders on the adapter's own kernels: RoBERTa's and BERT's against PyTorch's, USE-lite's
 * against float64. With every op's cases (ops_test.ts, attention_cases_test.ts) it is what `deno task test:swiftshader` runs.
 */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { classification } from "../lib/objectives/classification.ts";
import { Trainer } from "../lib/train/trainer.ts";
import { lossesInFloat64 } from "../tasks/conformance/float64_training.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import { cases, errorsOf, trainerFor } from "./support/bert_reference.ts";
import { testGpu } from "./support/ops.ts";
import { writeCheckpoint } from "./support/seeded_checkpoint.ts";

for (const [name, expected] of Object.entries(cases)) {
  Deno.test(`${name}: logits, loss and every gradient of a step agree with PyTorch's to 1e-4`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      await writeCheckpoint(folder, expected.config);
      using trainer = await trainerFor(folder, expected);
      for (const [what, error] of await errorsOf(trainer, expected)) {
        assert.ok(error <= 1e-4, `${what}: relative error ${error}`);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

Deno.test("USE-lite: the losses before a step and after it are float64's to 1e-5", async () => {
  const model = await loadUseLite();
  const adapter = attach(model, bora, { r: 8, blocks: 16, dropout: 0.05, target: ["query", "value"] });
  const objective = classification.of(model, { texts: 1, classes: 3 });
  const examples = ["a small furry animal", "they ran"].map((text, i) => ({
    texts: [model.tokenizer.encode(text)],
    label: 2 - i,
  }));
  const options = { learningRate: 1e-2, epochs: 2, batchSize: 2, warmupRatio: 0, seed: 0 };
  using trainer = new Trainer({ gpu: await testGpu(), model, adapter, objective, examples, ...options });
  const actual = [(await trainer.epoch())[0].loss, (await trainer.epoch())[0].loss];
  const expected = lossesInFloat64(model, adapter, objective, examples, options);
  const error = relativeError(actual, expected);
  assert.ok(error <= 1e-5, `${actual}, in float64 ${expected}: relative error ${error}`);
  assert.ok(Math.abs(expected[0] - expected[1]) > 1e-2, `the step moves the loss: ${expected}`);
});
