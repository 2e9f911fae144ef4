/**
 * The `config.json` fields of well-known encoders on the Hugging Face hub, so that a dry run needs no
 * download. To add one, add an entry here.
 */

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

/** By hub id; RoBERTa and BERT also by their old ids without an owner, and packaged models by theirs. */
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
};

/** Those whose folders ask for the mean over a text's tokens. */
const meanPooled = ["sentence-transformers/all-MiniLM-L6-v2", "minilm"];

/** The ids that `publishedConfig` knows. */
export const publishedIds: readonly string[] = Object.keys(published);

/** The configuration of the hub's model `id`; undefined if it is not in `publishedIds`. */
export function publishedConfig(id: string): EncoderConfig | undefined {
  if (!Object.hasOwn(published, id)) return undefined;
  return withPooling(encoderConfigOf(id, published[id]), meanPooled.includes(id) ? "mean" : undefined);
}
