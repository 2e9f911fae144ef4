/** Special tokens written in texts: ids and logits of transformers (`fixtures/special_tokens_reference.py`). */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { headOnly } from "../lib/adapters/base_only.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import type { Model, Weight } from "../lib/models/model.ts";
import { classification } from "../lib/objectives/classification.ts";
import type { Encoded } from "../lib/objectives/objective.ts";
import { AdaptedModel } from "../lib/train/adapted_model.ts";
import fixture from "./fixtures/special_tokens_reference.json" with { type: "json" };
import { testGpu } from "./support/ops.ts";
import { seeded, writeCheckpoint } from "./support/seeded_checkpoint.ts";

const outputs = 3;

/** The head's tensors, seeded by name. */
function seededHead(model: Model): Map<string, Weight> {
  const { dense, projection } = model.head;
  const linear = (path: string, m: number): [string, number[]][] => [
    [`${path}.weight`, [m, model.width]],
    [`${path}.bias`, [m]],
  ];
  const shapes = [...dense ? linear(dense, model.width) : [], ...linear(projection, outputs)];
  return new Map(shapes.map(([name, shape]) => [name, { shape, data: seeded(name, shape) }]));
}

/** A text, or a pair's two in one sequence. */
function encoded(model: Model, [first, second]: readonly string[]): Encoded {
  if (second === undefined) return { texts: [model.tokenizer.encode(first)], label: 0 };
  const [{ ids, second: begin }] = model.pairing.encode([first, second], model.maxTokens!);
  return { texts: [ids], seconds: [begin], label: 0 };
}

for (
  const [family, { config, examples, marks, "tokenizer.json": tokenizer }] of Object.entries(fixture.families)
) {
  Deno.test(`${family}: texts that hold ${marks.join(" ")} have transformers' ids, and its logits to 1e-5`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      await writeCheckpoint(folder, config, { tokenizer: { "tokenizer.json": JSON.stringify(tokenizer) } });
      const model = await loadEncoder(folder);
      const batch = examples.map(({ texts }) => encoded(model, texts));
      examples.forEach(({ texts, ids }, i) =>
        assert.deepEqual(batch[i].texts[0], ids, JSON.stringify(texts))
      );
      using adapted = new AdaptedModel(await testGpu(), model);
      adapted.add("seeded", attach(model, headOnly, { target: "all-linear" }), seededHead(model));
      const objective = classification.of(model, { texts: 1, classes: outputs });
      const logits = await adapted.predict(objective, batch);
      examples.forEach(({ texts, logits: expected }, i) => {
        const error = Math.max(...expected.map((value, j) => Math.abs(value - logits[i][j])));
        assert.ok(error <= 1e-5, `${error} of ${JSON.stringify(texts)}`);
      });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}
