/** Counts from shapes: against published totals, sums done by hand, and the paper's ratios. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { full, headOnly } from "../lib/adapters/base_only.ts";
import { lora } from "../lib/adapters/lora.ts";
import type { Method } from "../lib/adapters/method.ts";
import { melora } from "../lib/adapters/melora.ts";
import type { Targeting } from "../lib/adapters/targeting.ts";
import { attentionForward, countMethod } from "../lib/analysis/counts.ts";
import { shapeOf as shapeOfModel } from "../lib/analysis/shapes.ts";
import { publishedDecoders } from "../lib/models/published_configs.ts";
import { unloadedModel } from "../lib/models/unloaded_model.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";

const shapeOf = (id: string) => shapeOfModel(unloadedModel(id)!);
const qkv = ["q_proj", "k_proj", "v_proj"];

// Without the pooler, which RobertaForSequenceClassification does not have either.
for (const [id, parameters] of [["roberta-base", 124_055_040], ["roberta-large", 354_310_144]] as const) {
  Deno.test(`${id} has the published number of parameters`, () => {
    assert.equal(shapeOf(id).parameters, parameters);
  });
}

/**
 * Values in a decoder's safetensors files, a tied table once; those of the trunk's linear layers without biases; and those of LoRA
 * with r 8 on q, k and v.
 */
const decoders: readonly (readonly [id: string, parameters: number, linears: number, lora: number])[] = [
  ["meta-llama/Llama-2-7b-hf", 6_738_415_616, 6_476_005_376, 6_291_456],
  ["meta-llama/Meta-Llama-3-8B", 8_030_261_248, 6_979_321_856, 4_718_592],
  ["meta-llama/Llama-3.1-8B", 8_030_261_248, 6_979_321_856, 4_718_592],
  ["meta-llama/Llama-3.2-1B", 1_235_814_400, 973_078_528, 1_179_648],
  ["meta-llama/Llama-3.2-3B", 3_212_749_824, 2_818_572_288, 3_211_264],
  ["mistralai/Mistral-7B-v0.1", 7_241_732_096, 6_979_321_856, 4_718_592],
  ["mistralai/Mistral-7B-v0.3", 7_248_023_552, 6_979_321_856, 4_718_592],
  ["google/gemma-2b", 2_506_172_416, 1_981_808_640, 1_253_376],
  ["google/gemma-7b", 8_537_680_896, 7_751_073_792, 4_816_896],
  ["Qwen/Qwen2.5-0.5B", 494_032_768, 357_826_560, 737_280],
  ["Qwen/Qwen2.5-1.5B", 1_543_714_304, 1_310_195_712, 1_490_944],
  ["Qwen/Qwen2.5-3B", 3_085_938_688, 2_774_532_096, 2_506_752],
  ["Qwen/Qwen2.5-7B", 7_615_616_512, 6_525_288_448, 3_440_640],
  ["Qwen/Qwen2.5-14B", 14_770_033_664, 13_212_057_600, 8_650_752],
  ["Qwen/Qwen3-0.6B", 596_049_920, 440_401_920, 1_605_632],
  ["Qwen/Qwen3-4B", 4_022_468_096, 3_633_315_840, 3_981_312],
  ["Qwen/Qwen3-8B", 8_190_735_360, 6_945_767_424, 5_308_416],
  ["HuggingFaceTB/SmolLM2-135M", 134_515_008, 106_168_320, 645_120],
  ["smollm2", 134_515_008, 106_168_320, 645_120],
  ["HuggingFaceTB/SmolLM2-360M", 361_821_120, 314_572_800, 1_146_880],
  ["HuggingFaceTB/SmolLM2-1.7B", 1_711_376_384, 1_610_612_736, 2_359_296],
  ["TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1_100_048_384, 968_884_224, 1_531_904],
];
for (const [id, parameters, linears, adapter] of decoders) {
  Deno.test(`${id} has the published number of parameters, and LoRA on it its own, packed or not`, () => {
    const shape = shapeOf(id);
    assert.equal(shape.parameters, parameters);
    const count = countMethod(shape, lora, { r: 8 }, { target: qkv }, 512);
    assert.deepEqual([count.baseForward, count.trainable], [linears, adapter]);
    assert.equal(shapeOfModel(unloadedModel(id, { packing: "int4" })!).parameters, parameters);
  });
}

Deno.test("every published decoder is counted above", () => {
  assert.deepEqual(publishedDecoders.toSorted(), decoders.map(([id]) => id).toSorted());
});

// The paper (section 4): BoRA with b = 64 on q, k, v has this many times LoRA's parameters.
for (
  const [name, ratio] of [["meta-llama/Meta-Llama-3-8B", "1.67"], ["google/gemma-7b", "1.57"], [
    "Qwen/Qwen2.5-14B",
    "1.55",
  ]]
) {
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
  const shape = shapeOf("roberta-base");
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
  assert.equal(count(full).trainable, 124_055_040);
  assert.equal(count(full).trainingStep, 3 * base);
  assert.equal(count(headOnly).trainable, 0);
  assert.equal(count(headOnly).trainingStep, base);
});

Deno.test("attention's products are counted by what a layer is for, whatever it is called", () => {
  const shape = shapeOf("roberta-base");
  assert.equal(attentionForward(shape, 128), 2 * 128 * 12 * 768);
  const renamed = shape.linears.map((module) => ({
    ...module,
    target: module.target.replace("query", "q_proj"),
  }));
  assert.equal(attentionForward({ linears: renamed }, 128), 2 * 128 * 12 * 768);
  // 32 heads of 128, though keys and values have 8.
  assert.equal(attentionForward(shapeOf("meta-llama/Meta-Llama-3-8B"), 1), 2 * 32 * 4096);
});

Deno.test("what is counted is what is attached", () => {
  const model = tinyEncoder();
  const options = { r: 2, blocks: 4 };
  const target = ["query", "ffn_in"];
  const adapter = attach(model, bora, { ...options, target });
  const { trainable, adapterForward } = countMethod(
    shapeOfModel(model),
    bora,
    options,
    { target },
    512,
  );
  assert.equal(trainable, adapter.trainableParameters);
  assert.equal(adapterForward, adapter.multiplyAddsPerToken);
});

Deno.test("what modulesToSave trains whole is counted: its parameters, its gradient, and the backward pass that leads to it", () => {
  const model = tinyEncoder();
  const count = (method: Method, targeting: Targeting) =>
    countMethod(shapeOfModel(model), method, {}, targeting, 512);
  const target = ["query"];
  const modulesToSave = ["ffn.out", "norm"];
  const adapter = attach(model, lora, { target, modulesToSave });
  const [without, withSaved] = [count(lora, { target }), count(lora, { target, modulesToSave })];
  assert.equal(withSaved.trainable, adapter.trainableParameters);
  assert.equal(withSaved.trainable - without.trainable, 16 * 24 + 16 + 2 * 16);
  assert.equal(withSaved.trainingStep - without.trainingStep, 16 * 24);
  assert.equal(count(headOnly, { target }).passes, 1);
  assert.equal(count(headOnly, { target, modulesToSave }).passes, 2);
  assert.deepEqual(count(full, { target, modulesToSave }), count(full, { target }));
  // The pooler comes after the trunk.
  const linears = model.linears.map((own) =>
    own.path === "ffn.out" ? { ...own, perText: true as const } : own
  );
  const perText = { ...model, linears };
  const afterTrunk = countMethod(
    shapeOfModel(perText),
    headOnly,
    {},
    { target, modulesToSave: ["ffn.out"] },
    512,
  );
  assert.deepEqual([afterTrunk.passes, afterTrunk.trainable], [1, 16 * 24 + 16]);
});
