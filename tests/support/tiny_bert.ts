/** The `config.json` of a BERT over the few words of `writeCheckpoint`'s tokenizer. */

/** One layer: its command lines take seconds. */
export const tinyBert = {
  model_type: "bert",
  hidden_size: 64,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  intermediate_size: 64,
  max_position_embeddings: 512,
  type_vocab_size: 2,
  vocab_size: 9,
  hidden_act: "gelu",
  layer_norm_eps: 1e-12,
};
