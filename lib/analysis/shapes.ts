/** Model shapes for counting, without weights. To add a model, add a line to `modelShapes`. */

import {
  type HeadLayout,
  type LinearModule,
  type LinearRole,
  type Model,
  plainHead,
} from "../models/model.ts";

/** The shape of a model, as far as counting needs it. */
export interface ModelShape {
  readonly name: string;
  /** The layers of its head, which no adapter can be attached to. */
  readonly head: HeadLayout;
  /** Every linear layer of the trunk that an adapter can attach to, without the language-model head. */
  readonly linears: readonly LinearModule[];
  /** Parameters of the whole model, including embeddings, norms and the language-model head. */
  readonly parameters: number;
}

/** The shape of a loaded encoder. */
export function shapeOf({ name, head, linears, weights }: Model): ModelShape {
  const size = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent, 1);
  return {
    name,
    head,
    linears,
    parameters: [...weights.values()].reduce((sum, { shape }) => sum + size(shape), 0),
  };
}

/** The fields of a Hugging Face `config.json` of a BERT-like encoder. */
interface EncoderConfig {
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly intermediate_size: number;
  readonly vocab_size: number;
  readonly max_position_embeddings: number;
  readonly type_vocab_size: number;
}

/** The fields of a Hugging Face `config.json` of a LLaMA-like decoder. */
interface DecoderConfig {
  readonly hidden_size: number;
  readonly num_hidden_layers: number;
  readonly intermediate_size: number;
  readonly vocab_size: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  /** Default: hidden_size / num_attention_heads. */
  readonly head_dim?: number;
  readonly tie_word_embeddings: boolean;
  /** Whether query, key and value have biases (Qwen2). */
  readonly attention_bias: boolean;
}

function perLayer(
  layers: number,
  shapes: Readonly<Record<string, readonly [role: LinearRole, m: number, n: number]>>,
): LinearModule[] {
  return Array.from({ length: layers }, (_, i) =>
    Object.entries(shapes).map(([target, [role, m, n]]) => ({
      path: `layer.${i}.${target}`,
      target,
      role,
      m,
      n,
    }))).flat();
}

const sumOver = (linears: readonly LinearModule[], of: (module: LinearModule) => number) =>
  linears.reduce((sum, module) => sum + of(module), 0);

/**
 * RoBERTa and BERT: biases everywhere, two LayerNorms per layer, one after the embeddings, and a tanh pooler.
 */
function encoder(name: string, config: EncoderConfig): ModelShape {
  const { hidden_size: d, intermediate_size: ffn, num_hidden_layers: layers } = config;
  const linears = perLayer(layers, {
    query: ["query", d, d],
    key: ["key", d, d],
    value: ["value", d, d],
    output: ["attention output", d, d],
    ffn_in: ["feed-forward", ffn, d],
    ffn_out: ["feed-forward", d, ffn],
  });
  const tables = config.vocab_size + config.max_position_embeddings + config.type_vocab_size;
  const norms = 2 * d * (1 + 2 * layers);
  const pooler = d * d + d;
  return {
    name,
    head: plainHead,
    linears,
    parameters: sumOver(linears, ({ m, n }) => m * n + m) + tables * d + norms + pooler,
  };
}

/**
 * LLaMA, Gemma and Qwen2: grouped-query attention, a gated feed-forward, two RMSNorms per layer and a final
 * one.
 */
function decoder(name: string, config: DecoderConfig): ModelShape {
  const { hidden_size: d, intermediate_size: ffn, num_hidden_layers: layers } = config;
  const headDim = config.head_dim ?? d / config.num_attention_heads;
  const q = config.num_attention_heads * headDim;
  const kv = config.num_key_value_heads * headDim;
  const linears = perLayer(layers, {
    query: ["query", q, d],
    key: ["key", kv, d],
    value: ["value", kv, d],
    output: ["attention output", d, q],
    gate: ["feed-forward", ffn, d],
    up: ["feed-forward", ffn, d],
    down: ["feed-forward", d, ffn],
  });
  const biases = config.attention_bias ? layers * (q + 2 * kv) : 0;
  const tables = config.vocab_size * d * (config.tie_word_embeddings ? 1 : 2);
  const norms = d * (1 + 2 * layers);
  const parameters = sumOver(linears, ({ m, n }) => m * n) + biases + tables + norms;
  return { name, head: plainHead, linears, parameters };
}

/** The paper's models, from their published `config.json`. */
export const modelShapes: readonly ModelShape[] = [
  encoder("RoBERTa-base", {
    hidden_size: 768,
    num_hidden_layers: 12,
    intermediate_size: 3072,
    vocab_size: 50265,
    max_position_embeddings: 514,
    type_vocab_size: 1,
  }),
  encoder("RoBERTa-large", {
    hidden_size: 1024,
    num_hidden_layers: 24,
    intermediate_size: 4096,
    vocab_size: 50265,
    max_position_embeddings: 514,
    type_vocab_size: 1,
  }),
  decoder("LLaMA-3-8B", {
    hidden_size: 4096,
    num_hidden_layers: 32,
    intermediate_size: 14336,
    vocab_size: 128256,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    tie_word_embeddings: false,
    attention_bias: false,
  }),
  decoder("Gemma-7B", {
    hidden_size: 3072,
    num_hidden_layers: 28,
    intermediate_size: 24576,
    vocab_size: 256000,
    num_attention_heads: 16,
    num_key_value_heads: 16,
    head_dim: 256,
    tie_word_embeddings: true,
    attention_bias: false,
  }),
  decoder("Qwen2.5-14B", {
    hidden_size: 5120,
    num_hidden_layers: 48,
    intermediate_size: 13824,
    vocab_size: 152064,
    num_attention_heads: 40,
    num_key_value_heads: 8,
    tie_word_embeddings: false,
    attention_bias: true,
  }),
];
