/** What a decoder's `config.json` asks for: read, or refused by the field's name. */

import assert from "node:assert/strict";
import { decoderConfigOf, decoderConfigOfGguf } from "../lib/models/decoder_config.ts";
import { GgufMetadata, type GgufValue } from "../lib/models/gguf/metadata.ts";
import { cases } from "./support/decoder_reference.ts";

const read = (name: keyof typeof cases, changes: object) =>
  decoderConfigOf("config.json", { ...cases[name].config, ...changes });

const refused = (name: keyof typeof cases, changes: object, message: RegExp) =>
  assert.throws(() => read(name, changes), message);

Deno.test("a type that is not read is named, whatever its own fields are called", () => {
  assert.throws(
    () => decoderConfigOf("config.json", { model_type: "gpt2", n_embd: 32 }),
    /^Error: config\.json: model_type is "gpt2": use a model with one of llama, /,
  );
});

Deno.test("layer_types say what the window's fields say, or are refused", () => {
  const [full, sliding] = ["full_attention", "sliding_attention"];
  const window = { use_sliding_window: true, sliding_window: 4, max_window_layers: 1 };
  const { window: size, windowFrom } = read("Qwen3", { ...window, layer_types: [full, sliding] });
  assert.deepEqual([size, windowFrom], [4, 1]);
  refused(
    "Qwen3",
    { ...window, max_window_layers: 0, layer_types: [full, sliding] },
    /^Error: config\.json: layer_types has "full_attention" for layer 0, which is "sliding_attention" by the window's/,
  );
  refused("Qwen3", { layer_types: [full, sliding] }, /layer_types has "sliding_attention" for layer 1/);
  refused("Qwen3", { layer_types: [full, "chunked_attention"] }, /layer_types has "chunked_attention" for/);
  refused("Qwen3", { layer_types: [full] }, /layer_types has 1 entries, and num_hidden_layers is 2/);
  refused("LLaMA 2", { layer_types: [sliding, sliding] }, /layer_types has "sliding_attention" for layer 0/);
});

Deno.test("a window without a size has transformers' 4096, and null is none", () => {
  const used = { use_sliding_window: true, max_window_layers: 0, layer_types: undefined };
  const { sliding_window: _, ...config } = cases.Qwen2.config as Record<string, unknown>;
  assert.equal(decoderConfigOf("config.json", { ...config, ...used }).window, 4096);
  assert.equal(read("Qwen2", { ...used, sliding_window: null }).window, Infinity);
});

Deno.test("without a number of heads of keys a family has transformers' own, and null is as many as of queries", () => {
  const without = (name: keyof typeof cases, changes: object) => {
    const { num_key_value_heads: _, ...config } = cases[name].config as Record<string, unknown>;
    return decoderConfigOf("config.json", { ...config, num_attention_heads: 32, head_dim: 16, ...changes });
  };
  assert.equal(without("Mistral", {}).kvHeads, 8);
  assert.equal(without("Mistral", { num_key_value_heads: null }).kvHeads, 32);
  assert.equal(without("LLaMA 2", {}).kvHeads, 32);
  assert.throws(
    () => without("Qwen3", { num_attention_heads: 16 }),
    /num_key_value_heads is undefined: qwen3's own 32 must divide num_attention_heads 16/,
  );
});

Deno.test("several rotations are refused: by kinds of layers, or under both names", () => {
  const plain = { rope_type: "default", rope_theta: 500_000 };
  const linear = { rope_type: "linear", factor: 2, rope_theta: 500_000 };
  assert.deepEqual(
    read("LLaMA 2", { rope_parameters: plain, rope_scaling: plain }).frequencies,
    read("LLaMA 2", { rope_parameters: plain, rope_scaling: null }).frequencies,
  );
  refused(
    "LLaMA 2",
    { rope_parameters: plain, rope_scaling: linear },
    /has rope_parameters and other rope_scaling/,
  );
  refused(
    "LLaMA 2",
    { rope_parameters: { full_attention: plain, sliding_attention: linear } },
    /rope_parameters has some of its own for full_attention: one for all layers/,
  );
});

Deno.test("the rotation's base is where transformers 5 looks for it: in the rotation's own settings first, under either name", () => {
  const base = { rope_parameters: null, rope_scaling: null, rope_theta: 10_000 };
  const wanted = read("LLaMA 2", { ...base, rope_theta: 500_000 }).frequencies;
  const inside = { rope_type: "default", rope_theta: 500_000 };
  for (const name of ["rope_parameters", "rope_scaling"]) {
    assert.deepEqual(read("LLaMA 2", { ...base, [name]: inside }).frequencies, wanted, name);
    const without = { ...base, [name]: { rope_type: "default" }, rope_theta: 500_000 };
    assert.deepEqual(read("LLaMA 2", without).frequencies, wanted, name);
  }
});

Deno.test("fields of other decoders are refused unless they change nothing", () => {
  const headSize = 16;
  const nothing = {
    ...{ attn_logit_softcapping: null, final_logit_softcapping: null, query_pre_attn_scalar: headSize },
    ...{ attention_multiplier: 0.25, residual_multiplier: 1, logits_scaling: 1, num_experts: 0 },
    ...{ use_bidirectional_attention: null, is_causal: true, partial_rotary_factor: 1 },
  };
  assert.deepEqual(read("Qwen3", nothing), read("Qwen3", {}));
  const more = {
    ...{ attn_logit_softcapping: 50, final_logit_softcapping: 30, query_pre_attn_scalar: 256 },
    ...{ attention_multiplier: 0.5, embedding_multiplier: 12, residual_multiplier: 0.22, logits_scaling: 8 },
    ...{ logit_scale: 0.0625, use_qk_norm: true, clip_qkv: 8, num_experts: 4, num_local_experts: 8 },
    ...{ use_bidirectional_attention: true, is_causal: false, partial_rotary_factor: 0.5 },
  };
  for (const [field, value] of Object.entries(more)) {
    refused("Qwen3", { [field]: value }, new RegExp(`^Error: config\\.json: ${field} is ${value}[,:]`));
  }
});

Deno.test("another activation than the family's is refused, and Gemma's gelu is its approximation", () => {
  refused(
    "Qwen3",
    { hidden_act: "gelu" },
    /config\.json: hidden_act is "gelu": use a qwen3 model with "silu"/,
  );
  for (const hidden_act of ["gelu", "gelu_pytorch_tanh", null]) {
    assert.equal(read("Gemma", { hidden_act }).activation, "tanh gelu");
  }
  refused(
    "Gemma",
    { hidden_act: "relu" },
    /hidden_act is "relu": use a gemma model with "gelu_pytorch_tanh"/,
  );
  refused("Gemma", { hidden_activation: "silu" }, /hidden_activation is "silu": use a gemma model/);
});

/** A LLaMA in GGUF with these keys of its architecture. */
function readGguf(keys: Readonly<Record<string, GgufValue["value"]>>) {
  const sizes = { embedding_length: 32, block_count: 1, feed_forward_length: 64, context_length: 64 };
  const attention = { "attention.head_count": 2, "attention.layer_norm_rms_epsilon": 1e-5, vocab_size: 9 };
  const own = { ...sizes, ...attention, ...keys };
  const values = Object.entries(own).map(([key, value]): [string, GgufValue] => [
    `llama.${key}`,
    { type: typeof value, value },
  ]);
  const all = new Map([["general.architecture", { type: "string", value: "llama" }], ...values]);
  all.set("tokenizer.ggml.tokens", { type: "array", value: ["a"] });
  return decoderConfigOfGguf(new GgufMetadata("x.gguf", all), undefined, () => false);
}

Deno.test("a GGUF file's rotation is scaled as llama.cpp scales it: without a type linearly, and by the key's older name", () => {
  const [plain, quarter] = [1, 4].map((by) => readGguf({}).frequencies.map((frequency) => frequency / by));
  const [type, factor] = ["rope.scaling.type", "rope.scaling.factor"];
  assert.deepEqual(readGguf({ [type]: "linear", [factor]: 4 }).frequencies, quarter);
  assert.deepEqual(readGguf({ [factor]: 4 }).frequencies, quarter);
  assert.deepEqual(readGguf({ "rope.scale_linear": 4 }).frequencies, quarter);
  assert.deepEqual(readGguf({ [factor]: 4, "rope.scale_linear": 2 }).frequencies, quarter);
  assert.deepEqual(readGguf({ [type]: "none", [factor]: 4 }).frequencies, plain);
  assert.deepEqual(readGguf({ [type]: "linear" }).frequencies, plain);
  assert.deepEqual(readGguf({ [factor]: 0 }).frequencies, plain);
  assert.throws(
    () => readGguf({ [type]: "yarn", [factor]: 4 }),
    /"llama\.rope\.scaling\.type" is yarn: none/,
  );
});

Deno.test("numbers of a GGUF file that no model has are refused by key, and a window of 0 is none", () => {
  assert.deepEqual(readGguf({ "attention.sliding_window": 0 }), readGguf({}));
  assert.equal(readGguf({ "attention.sliding_window": 3 }).window, 3);
  const counts = ["block_count", "context_length", "attention.head_count_kv", "attention.sliding_window"];
  for (const key of counts) {
    for (const value of [-1, 1.5, NaN]) {
      const message = `x.gguf: "llama.${key}" is ${value}, and a whole number from 1 is wanted`;
      assert.throws(() => readGguf({ [key]: value }), { message });
    }
  }
  const positive = ["rope.freq_base", "rope.scaling.factor", "rope.scale_linear"];
  for (const key of [...positive, "attention.layer_norm_rms_epsilon"]) {
    for (const value of [-1, NaN, Infinity]) {
      const message = `x.gguf: "llama.${key}" is ${value}, and a number above 0 is wanted`;
      assert.throws(() => readGguf({ [key]: value }), { message });
    }
  }
  const heads: readonly [Readonly<Record<string, number>>, string][] = [
    [
      { "attention.head_count": 3 },
      '"llama.attention.head_count" is 3, and a divisor of the width 32 is wanted',
    ],
    [
      { "attention.head_count": 8, "attention.head_count_kv": 3 },
      '"llama.attention.head_count_kv" is 3, and a divisor of the 8 heads is wanted',
    ],
    [{ "attention.head_count": 16 }, "heads have 2 values, and a multiple of 4 is supported"],
    [{ "attention.key_length": 6 }, "heads have 6 values, and a multiple of 4 is supported"],
  ];
  for (const [keys, fault] of heads) assert.throws(() => readGguf(keys), { message: `x.gguf: ${fault}` });
  assert.equal(readGguf({ "attention.head_count": 3, "attention.key_length": 16 }).headSize, 16);
  assert.deepEqual(readGguf({ "attention.value_length": 16 }), readGguf({}));
  const message = "x.gguf: heads of values have 8 values, and those of keys 16: as many are supported";
  assert.throws(() => readGguf({ "attention.value_length": 8 }), { message });
});

Deno.test("keys of a GGUF file by which llama.cpp computes something else are refused", () => {
  const nothing = { "rope.scaling.attn_factor": 1, "attention.causal": true };
  assert.deepEqual(readGguf(nothing), readGguf({}));
  const more = { "rope.scaling.attn_factor": 2, "attention.causal": false };
  for (const [key, value] of Object.entries(more)) {
    const message = `x.gguf: "llama.${key}" is ${value}, which is not computed here: take a model without it`;
    assert.throws(() => readGguf({ [key]: value }), { message });
  }
});
