/** Counts from shapes: against published totals, sums done by hand, and the paper's ratios. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { full, headOnly } from "../lib/adapters/base_only.ts";
import { lora } from "../lib/adapters/lora.ts";
import type { Method } from "../lib/adapters/method.ts";
import { melora } from "../lib/adapters/melora.ts";
import { attentionForward, countMethod } from "../lib/analysis/counts.ts";
import { modelShapes } from "../lib/analysis/shapes.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";

const shapeOf = (name: string) => modelShapes.find((shape) => shape.name === name)!;
const qkv = ["query", "key", "value"];

// What `model.num_parameters()` of transformers prints for each checkpoint (RoBERTa with its pooler).
const published: Record<string, number> = {
  "RoBERTa-base": 124_645_632,
  "RoBERTa-large": 355_359_744,
  "LLaMA-3-8B": 8_030_261_248,
  "Gemma-7B": 8_537_680_896,
  "Qwen2.5-14B": 14_770_033_664,
};
for (const [name, parameters] of Object.entries(published)) {
  Deno.test(`${name} has the published number of parameters`, () => {
    assert.equal(shapeOf(name).parameters, parameters);
  });
}

// The paper (section 4): BoRA with b = 64 on q, k, v has this many times LoRA's parameters.
for (const [name, ratio] of [["LLaMA-3-8B", "1.67"], ["Gemma-7B", "1.57"], ["Qwen2.5-14B", "1.55"]]) {
  Deno.test(`BoRA b 64 against LoRA on ${name}: ${ratio}, as the paper counts`, () => {
    for (const r of [8, 16]) {
      const own = countMethod(shapeOf(name), bora, { r, blocks: 64 }, { target: qkv }, 512).trainable;
      assert.equal(
        (own / countMethod(shapeOf(name), lora, { r }, { target: qkv }, 512).trainable).toFixed(2),
        ratio,
      );
    }
  });
}

Deno.test("RoBERTa-base by hand: r 8 on query and value", () => {
  const shape = shapeOf("RoBERTa-base");
  const base = 12 * (4 * 589_824 + 2 * 2_359_296); // 84,934,656
  const count = (method: Method) => {
    const own = Object.entries({ r: 8, blocks: 16 }).filter(([name]) => name in method.defaults);
    return countMethod(shape, method, Object.fromEntries(own), { target: ["query", "value"] }, 512);
  };
  const layers = 24;
  const adapter = layers * 1536 * 8; // 294,912
  assert.deepEqual(count(lora), {
    trainable: adapter,
    baseForward: base,
    adapterForward: adapter,
    trainingStep: 2 * base + 3 * adapter,
    passes: 2,
  });
  assert.deepEqual(count(melora), count(lora));
  assert.equal(count(bora).trainable, adapter + layers * 256 * 8); // 344,064
  assert.equal(count(bora).adapterForward, adapter + layers * 256 * 8);
  assert.equal(count(full).trainable, 124_645_632);
  assert.equal(count(full).trainingStep, 3 * base);
  assert.equal(count(headOnly).trainable, 0);
  assert.equal(count(headOnly).trainingStep, base);
});

Deno.test("attention's products are counted by what a layer is for, whatever it is called", () => {
  const shape = shapeOf("RoBERTa-base");
  assert.equal(attentionForward(shape, 128), 2 * 128 * 12 * 768);
  const renamed = shape.linears.map((module) => ({
    ...module,
    target: module.target.replace("query", "q_proj"),
  }));
  assert.equal(attentionForward({ linears: renamed }, 128), 2 * 128 * 12 * 768);
  // 32 heads of 128, though keys and values have 8.
  assert.equal(attentionForward(shapeOf("LLaMA-3-8B"), 1), 2 * 32 * 4096);
});

Deno.test("what is counted is what is attached", () => {
  const model = tinyEncoder();
  const options = { r: 2, blocks: 4 };
  const target = ["query", "ffn_in"];
  const adapter = attach(model, bora, { ...options, target });
  const { trainable, adapterForward } = countMethod(
    { ...model, parameters: 0 },
    bora,
    options,
    { target },
    512,
  );
  assert.equal(trainable, adapter.trainableParameters);
  assert.equal(adapterForward, adapter.multiplyAddsPerToken);
});
