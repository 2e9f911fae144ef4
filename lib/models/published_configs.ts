/**
 * The `config.json` fields of well-known models on the Hugging Face hub, so that dry runs, counts and estimates need no download.
 * To add one, add an entry here.
 */

import { type DecoderConfig, decoderConfigOf, isDecoderType } from "./decoder_config.ts";
import { type EncoderConfig, encoderConfigOf, withPooling } from "./hugging_face_config.ts";

/** Fields that both sizes of RoBERTa share. */
const roberta = {
  model_type: "roberta",
  hidden_act: "gelu",
  layer_norm_eps: 1e-5,
  vocab_size: 50265,
  max_position_embeddings: 514,
  type_vocab_size: 1,
  pad_token_id: 1,
};

/** Fields that BERT's sizes and MiniLM share. */
const bert = {
  model_type: "bert",
  hidden_act: "gelu",
  layer_norm_eps: 1e-12,
  vocab_size: 30522,
  max_position_embeddings: 512,
  type_vocab_size: 2,
  pad_token_id: 0,
};

const base = { hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12, intermediate_size: 3072 };
const large = { hidden_size: 1024, num_hidden_layers: 24, num_attention_heads: 16, intermediate_size: 4096 };
const miniLm = { hidden_size: 384, num_hidden_layers: 6, num_attention_heads: 12, intermediate_size: 1536 };

/** Fields that sizes of LLaMA 3 share; 3.1 and 3.2 stretch the rotation's angles. */
const llama3 = {
  model_type: "llama",
  hidden_act: "silu",
  vocab_size: 128256,
  rms_norm_eps: 1e-5,
  rope_theta: 500_000,
  max_position_embeddings: 8192,
  num_key_value_heads: 8,
};
const stretched = (factor: number) => ({
  max_position_embeddings: 131072,
  rope_scaling: {
    rope_type: "llama3",
    factor,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  },
});
const llama3Of8B = { ...llama3, ...decoderSizes(32, 4096, 14336, 32) };

const llama2 = {
  model_type: "llama",
  hidden_act: "silu",
  vocab_size: 32000,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
};

const mistral = {
  ...decoderSizes(32, 4096, 14336, 32),
  model_type: "mistral",
  num_key_value_heads: 8,
  rms_norm_eps: 1e-5,
  max_position_embeddings: 32768,
};

const gemma = {
  model_type: "gemma",
  vocab_size: 256000,
  head_dim: 256,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  max_position_embeddings: 8192,
  dtype: "bfloat16",
};

const qwen2 = {
  model_type: "qwen2",
  vocab_size: 151936,
  rms_norm_eps: 1e-6,
  rope_theta: 1_000_000,
  tie_word_embeddings: true,
  use_sliding_window: false,
};
const largeQwen2 = { ...qwen2, vocab_size: 152064, tie_word_embeddings: false };
const qwen3 = { ...qwen2, model_type: "qwen3", head_dim: 128, num_key_value_heads: 8 };

const smolLm2 = {
  model_type: "llama",
  hidden_act: "silu",
  vocab_size: 49152,
  rms_norm_eps: 1e-5,
  rope_theta: 100_000,
  max_position_embeddings: 8192,
  tie_word_embeddings: true,
};
const smolLm2Of135M = { ...smolLm2, ...decoderSizes(30, 576, 1536, 9), num_key_value_heads: 3 };

function decoderSizes(layers: number, width: number, inner: number, heads: number) {
  return {
    num_hidden_layers: layers,
    hidden_size: width,
    intermediate_size: inner,
    num_attention_heads: heads,
  };
}

/**
 * By hub id; RoBERTa and BERT also by their old ids without an owner, and packaged models by theirs. A decoder's chat model has the
 * shape of the base that is here.
 */
const published: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "roberta-base": { ...roberta, ...base },
  "FacebookAI/roberta-base": { ...roberta, ...base },
  "roberta-large": { ...roberta, ...large },
  "FacebookAI/roberta-large": { ...roberta, ...large },
  "bert-base-uncased": { ...bert, ...base },
  "google-bert/bert-base-uncased": { ...bert, ...base },
  "bert-large-uncased": { ...bert, ...large },
  "google-bert/bert-large-uncased": { ...bert, ...large },
  "sentence-transformers/all-MiniLM-L6-v2": { ...bert, ...miniLm },
  minilm: { ...bert, ...miniLm },
  "meta-llama/Llama-2-7b-hf": {
    ...llama2,
    ...decoderSizes(32, 4096, 11008, 32),
    max_position_embeddings: 4096,
  },
  "meta-llama/Meta-Llama-3-8B": llama3Of8B,
  "meta-llama/Llama-3.1-8B": { ...llama3Of8B, ...stretched(8) },
  "meta-llama/Llama-3.2-1B": {
    ...llama3,
    ...decoderSizes(16, 2048, 8192, 32),
    ...stretched(32),
    tie_word_embeddings: true,
  },
  "meta-llama/Llama-3.2-3B": {
    ...llama3,
    ...decoderSizes(28, 3072, 8192, 24),
    ...stretched(32),
    tie_word_embeddings: true,
  },
  "TinyLlama/TinyLlama-1.1B-Chat-v1.0": {
    ...llama2,
    ...decoderSizes(22, 2048, 5632, 32),
    num_key_value_heads: 4,
    max_position_embeddings: 2048,
  },
  "mistralai/Mistral-7B-v0.1": { ...mistral, vocab_size: 32000, rope_theta: 10_000, sliding_window: 4096 },
  "mistralai/Mistral-7B-v0.3": { ...mistral, vocab_size: 32768, rope_theta: 1e6, sliding_window: null },
  "google/gemma-2b": { ...gemma, ...decoderSizes(18, 2048, 16384, 8), num_key_value_heads: 1 },
  "google/gemma-7b": { ...gemma, ...decoderSizes(28, 3072, 24576, 16), num_key_value_heads: 16 },
  "Qwen/Qwen2.5-0.5B": { ...qwen2, ...decoderSizes(24, 896, 4864, 14), num_key_value_heads: 2 },
  "Qwen/Qwen2.5-1.5B": { ...qwen2, ...decoderSizes(28, 1536, 8960, 12), num_key_value_heads: 2 },
  "Qwen/Qwen2.5-3B": { ...qwen2, ...decoderSizes(36, 2048, 11008, 16), num_key_value_heads: 2 },
  "Qwen/Qwen2.5-7B": { ...largeQwen2, ...decoderSizes(28, 3584, 18944, 28), num_key_value_heads: 4 },
  "Qwen/Qwen2.5-14B": {
    ...largeQwen2,
    ...decoderSizes(48, 5120, 13824, 40),
    num_key_value_heads: 8,
    rms_norm_eps: 1e-5,
  },
  "Qwen/Qwen3-0.6B": { ...qwen3, ...decoderSizes(28, 1024, 3072, 16) },
  "Qwen/Qwen3-4B": { ...qwen3, ...decoderSizes(36, 2560, 9728, 32) },
  "Qwen/Qwen3-8B": { ...qwen3, ...decoderSizes(36, 4096, 12288, 32), tie_word_embeddings: false },
  "HuggingFaceTB/SmolLM2-135M": smolLm2Of135M,
  smollm2: smolLm2Of135M,
  "HuggingFaceTB/SmolLM2-360M": { ...smolLm2, ...decoderSizes(32, 960, 2560, 15), num_key_value_heads: 5 },
  "HuggingFaceTB/SmolLM2-1.7B": { ...smolLm2, ...decoderSizes(24, 2048, 8192, 32), rope_theta: 130_000 },
};

/** Those whose folders ask for the mean over a text's tokens. */
const meanPooled = ["sentence-transformers/all-MiniLM-L6-v2", "minilm"];

const isDecoder = (id: string) => isDecoderType(published[id].model_type);

/** The BoRA paper's decoders by short names, which stand for these ids of the hub. */
const shortNames: Readonly<Record<string, string>> = {
  "llama-3-8b": "meta-llama/Meta-Llama-3-8B",
  "gemma-7b": "google/gemma-7b",
  "qwen2.5-14b": "Qwen/Qwen2.5-14B",
};

/** The hub's id of a model that has a short name here; any other id as it is. */
export function hubIdOf(id: string): string {
  return Object.hasOwn(shortNames, id) ? shortNames[id] : id;
}

/** The ids that `publishedEncoder` knows. */
export const publishedEncoders: readonly string[] = Object.keys(published).filter((id) => !isDecoder(id));

/** The ids that `publishedDecoder` knows. */
export const publishedDecoders: readonly string[] = Object.keys(published).filter(isDecoder);

/** The configuration of the encoder `id`; undefined if it is not in `publishedEncoders`. */
export function publishedEncoder(id: string): EncoderConfig | undefined {
  if (!publishedEncoders.includes(id)) return undefined;
  return withPooling(encoderConfigOf(id, published[id]), meanPooled.includes(id) ? "mean" : undefined);
}

/** The configuration of the decoder `id`; undefined if neither it nor the id that it is short for is in `publishedDecoders`. */
export function publishedDecoder(name: string): DecoderConfig | undefined {
  const id = hubIdOf(name);
  return publishedDecoders.includes(id) ? decoderConfigOf(id, published[id]) : undefined;
}
