/**
 * The architecture of causal decoders, from `config.json` as transformers 4 and 5 write it, or from a GGUF file's metadata.
 * Defaults are those of transformers' configuration classes.
 */

import * as v from "npm:valibot@1.5.0";
import { fitting, readAnyJson } from "../files.ts";
import type { GateActivation } from "../graph/ops/gated_unit.ts";
import { rotaryFrequencies } from "../graph/ops/rotary.ts";
import { show } from "../show.ts";
import type { GgufMetadata } from "./gguf/metadata.ts";
import { modelTypeIn } from "./model_type.ts";
import { checkOtherDecoders } from "./other_decoders.ts";

/** The architecture of a decoder. */
export interface DecoderConfig {
  /** transformers' `model_type`. */
  readonly type: string;
  readonly vocabulary: number;
  readonly width: number;
  /** Width of the feed-forward layers. */
  readonly inner: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly activation: GateActivation;
  readonly epsilon: number;
  /** Positions that the model is made for. */
  readonly positions: number;
  /** Whether the head is the table of embeddings. */
  readonly tied: boolean;
  /** Which linear layers have a bias. */
  readonly biases: { readonly qkv: boolean; readonly output: boolean; readonly feedForward: boolean };
  /** Whether each head's query and key are normalised before they are rotated (Qwen3). */
  readonly headNorms: boolean;
  /** Added to the norms' weights, which Gemma's files have around 0. */
  readonly normOffset: 0 | 1;
  /** Factor of the embeddings, √width in Gemma. */
  readonly embeddingScale: number;
  /** Number of tokens that a token attends to in layers from `windowFrom` on; Infinity for all. */
  readonly window: number;
  readonly windowFrom: number;
  /** The rotation's angle per position, for each pair of a head's values. */
  readonly frequencies: readonly number[];
}

/** How families differ, by `model_type`. To add a family that differs only in these, add a line. */
interface Family {
  readonly headSize?: number;
  readonly tied: boolean;
  readonly qkvBias: "never" | "always" | "attention_bias";
  readonly headNorms: boolean;
  readonly isGemma: boolean;
  readonly window: "none" | "sliding_window" | "use_sliding_window";
  readonly defaults: { readonly kvHeads?: number; readonly positions: number };
}

const llama: Family = {
  tied: false,
  qkvBias: "attention_bias",
  headNorms: false,
  isGemma: false,
  window: "none",
  defaults: { positions: 2048 },
};

const families: Readonly<Record<string, Family>> = {
  llama,
  mistral: {
    ...llama,
    qkvBias: "never",
    window: "sliding_window",
    defaults: { kvHeads: 8, positions: 131072 },
  },
  qwen2: {
    ...llama,
    qkvBias: "always",
    window: "use_sliding_window",
    defaults: { kvHeads: 32, positions: 32768 },
  },
  qwen3: {
    ...llama,
    headSize: 128,
    headNorms: true,
    window: "use_sliding_window",
    defaults: { kvHeads: 32, positions: 32768 },
  },
  gemma: {
    ...llama,
    headSize: 256,
    tied: true,
    isGemma: true,
    defaults: { kvHeads: 16, positions: 8192 },
  },
};

const count = v.pipe(v.number(), v.integer(), v.minValue(1));
const positive = v.pipe(v.number(), v.gtValue(0));

const ropeSchema = v.looseObject({
  rope_theta: v.optional(positive),
  rope_type: v.optional(v.string()),
  /** The older name of `rope_type`. */
  type: v.optional(v.string()),
  factor: v.optional(positive),
  low_freq_factor: v.optional(positive),
  high_freq_factor: v.optional(positive),
  original_max_position_embeddings: v.optional(count),
  partial_rotary_factor: v.optional(positive),
});

const configSchema = v.looseObject({
  model_type: v.string(),
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: v.pipe(count, v.maxValue(10_000)),
  num_attention_heads: count,
  num_key_value_heads: v.nullish(count),
  head_dim: v.nullish(count),
  hidden_act: v.nullish(v.string()),
  hidden_activation: v.nullish(v.string()),
  rms_norm_eps: v.optional(positive, 1e-6),
  max_position_embeddings: v.optional(count),
  tie_word_embeddings: v.optional(v.boolean()),
  attention_bias: v.optional(v.boolean(), false),
  mlp_bias: v.optional(v.boolean(), false),
  sliding_window: v.nullish(count),
  use_sliding_window: v.optional(v.boolean(), false),
  max_window_layers: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0)), 28),
  layer_types: v.nullish(v.array(v.string())),
  rope_theta: v.optional(positive),
  rope_scaling: v.nullish(ropeSchema),
  rope_parameters: v.nullish(ropeSchema),
  partial_rotary_factor: v.optional(positive),
  dtype: v.nullish(v.string()),
  torch_dtype: v.nullish(v.string()),
});
type Config = v.InferOutput<typeof configSchema>;

/** The values of `model_type` that are read. */
export const decoderTypes: readonly string[] = Object.keys(families);

/** `DecoderConfig.normOffset` of a decoder in a folder of transformers, by its `model_type`. */
export function normOffsetInFolders(type: string): 0 | 1 {
  return families[type].isGemma ? 1 : 0;
}

/** True for a `config.json` of a decoder that is read here. */
export function isDecoderType(type: unknown): boolean {
  return typeof type === "string" && Object.hasOwn(families, type);
}

/**
 * Reads the `config.json` of `folder`.
 * @throws Error that names the file, the field and its value, and what is supported.
 */
export async function readDecoderConfig(folder: string): Promise<DecoderConfig> {
  const path = `${folder}/config.json`;
  return decoderConfigOf(path, await readAnyJson(path));
}

/** Checks `json`, the content of the `config.json` at `path`. Throws as `readDecoderConfig` does. */
export function decoderConfigOf(path: string, json: unknown): DecoderConfig {
  modelTypeIn(path, json, decoderTypes);
  return checkedConfig(path, fitting(path, configSchema, json));
}

function checkedConfig(path: string, config: Config): DecoderConfig {
  const refuse = (field: keyof Config, wanted: string): never => {
    throw new Error(`${path}: ${field} is ${JSON.stringify(config[field])}: ${wanted}`);
  };
  const family = families[config.model_type];
  const { hidden_size: width, num_attention_heads: heads } = config;
  const headSize = config.head_dim ?? family.headSize ?? width / heads;
  // transformers' classes have their own number where the field is missing, and null for as many as queries have.
  const isTold = "num_key_value_heads" in config;
  const kvHeads = (isTold ? config.num_key_value_heads : family.defaults.kvHeads) ?? heads;
  if (!Number.isInteger(headSize)) refuse("num_attention_heads", `it must divide hidden_size ${width}`);
  if (headSize % 4 !== 0) {
    refuse("head_dim", `heads have ${headSize} values, and a multiple of 4 is supported`);
  }
  if (heads % kvHeads !== 0) {
    const what = isTold ? "it" : `${config.model_type}'s own ${kvHeads}`;
    refuse("num_key_value_heads", `${what} must divide num_attention_heads ${heads}`);
  }
  checkActivation(family, config, refuse);
  checkOtherDecoders(path, config, headSize);
  const window = windowOf(family, config);
  checkLayerTypes(path, config, window);
  const own = {
    type: config.model_type,
    vocabulary: config.vocab_size,
    width,
    inner: config.intermediate_size,
    layers: config.num_hidden_layers,
    heads,
    kvHeads,
    headSize,
    activation: family.isGemma ? "tanh gelu" : "silu",
    epsilon: config.rms_norm_eps,
    positions: config.max_position_embeddings ?? family.defaults.positions,
    tied: config.tie_word_embeddings ?? family.tied,
    headNorms: family.headNorms,
    normOffset: normOffsetInFolders(config.model_type),
    embeddingScale: family.isGemma ? gemmaScale(width, config.dtype ?? config.torch_dtype) : 1,
    ...window,
    frequencies: frequenciesOf(path, config, headSize),
  } as const;
  const hasBias = { never: false, always: true, attention_bias: config.attention_bias }[family.qkvBias];
  const biases = {
    qkv: hasBias,
    output: family.qkvBias === "attention_bias" && config.attention_bias,
    feedForward: config.model_type === "llama" && config.mlp_bias,
  };
  return { ...own, biases };
}

/** √width, rounded to the dtype of the weights, as transformers rounds it: 55.5 for Gemma-7B in bfloat16. */
function gemmaScale(width: number, dtype: string | null | undefined): number {
  const scale = Math.fround(Math.sqrt(width));
  if (dtype === "float16") return Math.f16round(scale);
  if (dtype !== "bfloat16") return scale;
  const bits = new Uint32Array(Float32Array.of(scale).buffer);
  // To nearest, ties to even, on the upper 16 bits.
  bits[0] = (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(bits.buffer)[0];
}

/** Throws by `refuse` for an activation that is not the family's. */
function checkActivation(
  { isGemma }: Family,
  config: Config,
  refuse: (field: keyof Config, wanted: string) => never,
): void {
  const { hidden_act, hidden_activation, model_type } = config;
  if (!isGemma) {
    if ((hidden_act ?? "silu") !== "silu") refuse("hidden_act", `use a ${model_type} model with "silu"`);
    return;
  }
  const wanted = 'use a gemma model with "gelu_pytorch_tanh"';
  // Gemma's first files say gelu and mean its approximation.
  if (!["gelu", "gelu_pytorch_tanh"].includes(hidden_act ?? "gelu")) refuse("hidden_act", wanted);
  if ((hidden_activation ?? "gelu_pytorch_tanh") !== "gelu_pytorch_tanh") refuse("hidden_activation", wanted);
}

type Window = Pick<DecoderConfig, "window" | "windowFrom">;

function windowOf({ window }: Family, config: Config): Window {
  // transformers' classes have 4096 where the field is missing, and null for none.
  const own = "sliding_window" in config ? config.sliding_window ?? Infinity : 4096;
  if (window === "sliding_window") return { window: own, windowFrom: 0 };
  const isUsed = window === "use_sliding_window" && config.use_sliding_window;
  return isUsed ? { window: own, windowFrom: config.max_window_layers } : { window: Infinity, windowFrom: 0 };
}

/** Throws an Error when the layers' own list says otherwise than the window's fields, which transformers would not heed then. */
function checkLayerTypes(path: string, config: Config, { window, windowFrom }: Window): void {
  const { layer_types: types, num_hidden_layers: layers } = config;
  if (!types) return;
  if (types.length !== layers) {
    throw new Error(`${path}: layer_types has ${types.length} entries, and num_hidden_layers is ${layers}`);
  }
  for (const [layer, type] of types.entries()) {
    const own = window < Infinity && layer >= windowFrom ? "sliding_attention" : "full_attention";
    if (type === own) continue;
    throw new Error(
      `${path}: layer_types has ${JSON.stringify(type)} for layer ${layer}, which is ${
        JSON.stringify(own)
      } by the window's fields: ` +
        "only a window in all layers from one on is supported, and both have to say so",
    );
  }
}

/** Throws an Error when there are several rotations: by kinds of layers, or under both names, of which transformers takes the older. */
function checkOneRope(path: string, { rope_parameters: newer, rope_scaling: older }: Config): void {
  const kind = Object.entries(newer ?? {}).find(([, value]) =>
    value instanceof Object && !Array.isArray(value)
  );
  if (kind) {
    throw new Error(
      `${path}: rope_parameters has some of its own for ${kind[0]}: one for all layers is supported`,
    );
  }
  if (newer && older && JSON.stringify(newer) !== JSON.stringify(older)) {
    throw new Error(`${path} has rope_parameters and other rope_scaling: keep the one that is meant`);
  }
}

/** What a `config.json` says of its rotation's base: in the rotation's own settings, under either name, or beside them. */
type RopeBase = Pick<Config, "rope_theta" | "rope_parameters" | "rope_scaling">;

/** The base of the rotation's frequencies. */
export function ropeTheta({ rope_theta, rope_parameters, rope_scaling }: RopeBase): number {
  return (rope_parameters ?? rope_scaling)?.rope_theta ?? rope_theta ?? 10_000;
}

/** The rotation's frequencies, scaled as `rope_parameters` or the older `rope_scaling` say. */
function frequenciesOf(path: string, config: Config, headSize: number): number[] {
  checkOneRope(path, config);
  const rope = config.rope_parameters ?? config.rope_scaling ?? {};
  const field = config.rope_parameters ? "rope_parameters" : "rope_scaling";
  const theta = ropeTheta(config);
  const partial = rope.partial_rotary_factor ?? config.partial_rotary_factor ?? 1;
  if (partial !== 1) {
    throw new Error(`${path}: partial_rotary_factor is ${partial}: only whole heads are rotated here`);
  }
  const plain = rotaryFrequencies(headSize, theta);
  const type = rope.rope_type ?? rope.type ?? "default";
  const need = (
    name: "factor" | "low_freq_factor" | "high_freq_factor" | "original_max_position_embeddings",
  ) => {
    const value = rope[name];
    if (value !== undefined) return value;
    throw new Error(`${path}: ${field} of type ${type} lacks ${name}`);
  };
  if (type === "default") return plain;
  if (type === "linear") return plain.map((frequency) => frequency / need("factor"));
  if (type !== "llama3") {
    throw new Error(
      `${path}: ${field} is of type ${
        JSON.stringify(type)
      }: use a model with "default", "linear" or "llama3"`,
    );
  }
  return plain.map(llama3Scaling(
    need("factor"),
    need("low_freq_factor"),
    need("high_freq_factor"),
    need("original_max_position_embeddings"),
  ));
}

/**
 * LLaMA 3.1's scaling of a frequency f (transformers' modeling_rope_utils.py): wavelengths up to original/high stay, those above
 * original/low are multiplied by `factor`, and between them the two are mixed.
 */
function llama3Scaling(factor: number, low: number, high: number, original: number) {
  return (f: number): number => {
    const turns = original * f / (2 * Math.PI);
    if (turns > high) return f;
    if (turns < low) return f / factor;
    const share = (turns - low) / (high - low);
    return (1 - share) * f / factor + share * f;
  };
}

/** GGUF's architectures, and what their files say otherwise than `config.json`. */
const ggufTypes: Readonly<Record<string, string>> = {
  llama: "llama",
  qwen2: "qwen2",
  qwen3: "qwen3",
  gemma: "gemma",
};

/** A whole number from 1. Throws an Error that names file and key for another, or a missing one without `otherwise`. */
function countIn(metadata: GgufMetadata, key: string, otherwise?: number): number {
  const value = metadata.number(key, otherwise);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new Error(`${metadata.origin}: "${key}" is ${value}, and a whole number from 1 is wanted`);
}

/** A number above 0. Throws as `countIn` does. */
function positiveIn(metadata: GgufMetadata, key: string, otherwise?: number): number {
  const value = metadata.number(key, otherwise);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`${metadata.origin}: "${key}" is ${value}, and a number above 0 is wanted`);
}

/**
 * What the rotation's frequencies are divided by. As in llama.cpp (src/llama-model.cpp), a scaling without a type is linear, its
 * factor may have an older name, and 0 is none.
 * @throws Error that names the file for another type.
 */
function ggufRopeFactor(metadata: GgufMetadata, architecture: string): number {
  const [scaling, older] = ["rope.scaling", "rope.scale_linear"].map((key) => `${architecture}.${key}`);
  const type = metadata.text(`${scaling}.type`, "linear");
  if (type === "none") return 1;
  if (type === "linear") {
    const key = metadata.has(`${scaling}.factor`) ? `${scaling}.factor` : older;
    return metadata.number(key, 1) === 0 ? 1 : positiveIn(metadata, key, 1);
  }
  throw new Error(`${metadata.origin}: "${scaling}.type" is ${type}: none and linear are supported`);
}

/** Throws an Error that names the file for a key by which llama.cpp computes something else than what is computed here. */
function checkOtherGguf(metadata: GgufMetadata, architecture: string): void {
  const [factor, causal] = ["rope.scaling.attn_factor", "attention.causal"].map((key) =>
    `${architecture}.${key}`
  );
  const refuse = (key: string) => {
    throw new Error(
      `${metadata.origin}: "${key}" is ${
        show(metadata.values.get(key)!.value)
      }, which is not computed here: take a model without it`,
    );
  };
  if (metadata.number(factor, 1) !== 1) refuse(factor);
  if (!metadata.flag(causal, true)) refuse(causal);
}

/**
 * The architecture in a GGUF file's metadata. `divisors` are the values of `rope_freqs.weight`, if there are any; `has` says
 * whether the model has a tensor, by Hugging Face's name.
 * @throws Error that names the file and the key that is missing or not supported.
 */
export function decoderConfigOfGguf(
  metadata: GgufMetadata,
  divisors: ArrayLike<number> | undefined,
  has: (name: string) => boolean,
): DecoderConfig {
  const architecture = metadata.text("general.architecture");
  const type = ggufTypes[architecture];
  const count = (key: string, otherwise?: number) => countIn(metadata, `${architecture}.${key}`, otherwise);
  const positive = (key: string, otherwise?: number) =>
    positiveIn(metadata, `${architecture}.${key}`, otherwise);
  const heads = count("attention.head_count");
  const width = count("embedding_length");
  const kvHeads = count("attention.head_count_kv", heads);
  const wanted = (key: string, value: number, what: string) => {
    throw new Error(`${metadata.origin}: "${architecture}.${key}" is ${value}, and ${what} is wanted`);
  };
  if (heads % kvHeads !== 0) wanted("attention.head_count_kv", kvHeads, `a divisor of the ${heads} heads`);
  const hasHeadSize = metadata.has(`${architecture}.attention.key_length`);
  if (!hasHeadSize && width % heads !== 0) {
    wanted("attention.head_count", heads, `a divisor of the width ${width}`);
  }
  const headSize = count("attention.key_length", width / heads);
  if (headSize % 4 !== 0) {
    throw new Error(`${metadata.origin}: heads have ${headSize} values, and a multiple of 4 is supported`);
  }
  checkOtherGguf(metadata, architecture);
  const factor = ggufRopeFactor(metadata, architecture);
  if (count("rope.dimension_count", headSize) !== headSize) {
    throw new Error(`${metadata.origin}: only a part of each head is rotated, and only whole heads are here`);
  }
  const valueSize = count("attention.value_length", headSize);
  if (valueSize !== headSize) {
    throw new Error(
      `${metadata.origin}: heads of values have ${valueSize} values, and those of keys ${headSize}: as many are supported`,
    );
  }
  const frequencies = rotaryFrequencies(headSize, positive("rope.freq_base", 10_000));
  if (divisors && divisors.length !== frequencies.length) {
    throw new Error(
      `${metadata.origin}: rope_freqs.weight has ${divisors.length} values for ${frequencies.length} frequencies`,
    );
  }
  const isGemma = type === "gemma";
  // As in llama.cpp, 0 is none.
  const hasWindow = metadata.number(`${architecture}.attention.sliding_window`, 0) !== 0;
  const hasBias = (module: string) => has(`model.layers.0.${module}.bias`);
  return {
    type,
    vocabulary: count("vocab_size", metadata.texts("tokenizer.ggml.tokens").length),
    width,
    inner: count("feed_forward_length"),
    layers: count("block_count"),
    heads,
    kvHeads,
    headSize,
    activation: isGemma ? "tanh gelu" : "silu",
    epsilon: positive("attention.layer_norm_rms_epsilon"),
    positions: count("context_length"),
    tied: !has("lm_head.weight"),
    biases: {
      qkv: hasBias("self_attn.q_proj"),
      output: hasBias("self_attn.o_proj"),
      feedForward: hasBias("mlp.down_proj"),
    },
    headNorms: type === "qwen3",
    // Converters have added it already.
    normOffset: 0,
    embeddingScale: isGemma ? Math.fround(Math.sqrt(width)) : 1,
    window: hasWindow ? count("attention.sliding_window") : Infinity,
    windowFrom: 0,
    frequencies: frequencies.map((frequency, i) => frequency / (divisors?.[i] ?? 1) / factor),
  };
}
