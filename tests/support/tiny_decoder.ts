/** A tiny decoder in a folder, a token a character, with positions enough for glosses: its weights are drawn by name. */

import { decoderConfigOf } from "../../lib/models/decoder_config.ts";
import { decoderShapes } from "../../lib/models/llama.ts";
import { cases, writeDecoder } from "./decoder_reference.ts";

const config = {
  ...cases["LLaMA 2"].config,
  hidden_size: 64,
  intermediate_size: 80,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 512,
};

/** Writes it to `folder`. */
export async function writeTinyDecoder(folder: string): Promise<void> {
  const shapes = decoderShapes(decoderConfigOf("tiny", config));
  const tensors = Object.fromEntries([...shapes].map(([name, shape]) => [name, { shape, sha256: "" }]));
  await writeDecoder(folder, { ...cases["LLaMA 2"], config, tensors });
}
