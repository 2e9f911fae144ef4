/** An encoder's folder of transformers as the metadata of a GGUF file of llama.cpp's architecture `bert`. */

import type { EncoderConfig } from "../hugging_face_config.ts";
import type { Pooling } from "../pooling.ts";
import { encoderTokenizerMetadata } from "./encoder_tokenizer_metadata.ts";
import type { GgufValue } from "./metadata.ts";

/** What llama.cpp gives of a text: a vector, or the outputs of a head on its first token's row, by their names. */
export type EncoderOutput = { readonly pooling: Pooling } | { readonly labels: readonly string[] };

/** Values of `pooling_type` (gguf-py: `PoolingType`). */
const poolingTypes = { mean: 1, first: 2, last: 3, rank: 4 };

/**
 * The metadata of the encoder in `folder`. Positions count from 0 there: rows of the table before the first are left out.
 * @throws Error that names the folder and what llama.cpp does not have: an activation other than GELU, of which it computes the tanh
 * approximation; and what `encoderTokenizerMetadata` throws.
 */
export async function encoderMetadata(
  folder: string,
  config: EncoderConfig,
  output: EncoderOutput,
): Promise<Map<string, GgufValue>> {
  if (config.activation !== "gelu") {
    throw new Error(
      `${folder}: hidden_act in its config.json is ${config.activation}, and llama.cpp computes this architecture with gelu alone: ` +
        `merge it into a folder`,
    );
  }
  const counts = {
    "bert.context_length": config.positions - config.firstPosition,
    "bert.embedding_length": config.width,
    "bert.block_count": config.layers,
    "bert.feed_forward_length": config.inner,
    "bert.attention.head_count": config.heads,
    "tokenizer.ggml.token_type_count": config.types,
  };
  return new Map<string, GgufValue>([
    ["general.architecture", { type: "string", value: "bert" }],
    ["general.type", { type: "string", value: "model" }],
    ...Object.entries(counts).map(([key, value]): [string, GgufValue] => [key, { type: "uint32", value }]),
    ["bert.attention.layer_norm_epsilon", { type: "float32", value: config.epsilon }],
    ["bert.attention.causal", { type: "bool", value: false }],
    ...outputEntries(output),
    ...await encoderTokenizerMetadata(folder, config.vocabulary),
  ]);
}

function outputEntries(output: EncoderOutput): [string, GgufValue][] {
  const pooling = (name: keyof typeof poolingTypes): [string, GgufValue] => [
    "bert.pooling_type",
    { type: "uint32", value: poolingTypes[name] },
  ];
  if ("pooling" in output) return [pooling(output.pooling)];
  return [pooling("rank"), ["bert.classifier.output_labels", { type: "array", value: [...output.labels] }]];
}
