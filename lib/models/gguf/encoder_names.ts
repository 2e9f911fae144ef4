/** The tensors of BERT and RoBERTa by llama.cpp's names (gguf-py/gguf/tensor_mapping.py, src/models/bert.cpp). */

const outside: Readonly<Record<string, string>> = {
  "embeddings.word_embeddings": "token_embd",
  "embeddings.position_embeddings": "position_embd",
  "embeddings.token_type_embeddings": "token_types",
  "embeddings.LayerNorm": "token_embd_norm",
};

const inBlock: Readonly<Record<string, string>> = {
  "attention.self.query": "attn_q",
  "attention.self.key": "attn_k",
  "attention.self.value": "attn_v",
  "attention.output.dense": "attn_output",
  "attention.output.LayerNorm": "attn_output_norm",
  "intermediate.dense": "ffn_up",
  "output.dense": "ffn_down",
  "output.LayerNorm": "layer_output_norm",
};

/** The layers of a head on the first token's row: tanh(cls · x + b), if there is one, and the outputs. */
export const clsNames = { dense: "cls", projection: "cls.output" } as const;

/** Tables that llama.cpp adds up as they are, and its converter leaves F32 (conversion/base.py). */
export const denseTables: readonly string[] = ["position_embd.weight", "token_types.weight"];

/** llama.cpp's name of a trunk's tensor, whose own is without the prefix. */
export function encoderGgufName(name: string): string {
  const [, layer, path, kind] = /^(?:encoder\.layer\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(name)!;
  return layer === undefined ? `${outside[path]}.${kind}` : `blk.${layer}.${inBlock[path]}.${kind}`;
}
