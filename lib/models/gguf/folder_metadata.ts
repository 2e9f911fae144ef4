/** A decoder's folder of transformers as the metadata of a GGUF file, where that is certain. */

import * as v from "npm:valibot@1.5.0";
import { readJson } from "../../files.ts";
import { rotaryFrequencies } from "../../graph/ops/rotary.ts";
import { type DecoderConfig, decoderConfigOfGguf, readDecoderConfig, ropeTheta } from "../decoder_config.ts";
import { decoderShapes } from "../llama.ts";
import { type GgufLayout, layoutFor } from "./hugging_face_places.ts";
import { GgufMetadata, type GgufValue } from "./metadata.ts";
import { tokenizerMetadata } from "./tokenizer_metadata.ts";

const rope = v.looseObject({ rope_theta: v.optional(v.number()) });
const baseSchema = v.looseObject({
  rope_theta: v.optional(v.number()),
  rope_parameters: v.nullish(rope),
  rope_scaling: v.nullish(rope),
});

/** What a GGUF file of a folder's decoder has beside the tensors of its checkpoint. */
export interface FolderMetadata {
  readonly metadata: Map<string, GgufValue>;
  readonly layout: GgufLayout;
  /** The names of the checkpoint's tensors that belong to the model. */
  readonly names: Iterable<string>;
  /** Divisors of the rotation's frequencies, if they are scaled: the tensor `rope_freqs.weight`. */
  readonly divisors?: Float32Array<ArrayBuffer>;
}

/**
 * Reads `config.json` and the tokenizer of a decoder.
 * @throws Error that names the folder and the setting that GGUF's metadata do not carry, and what `readDecoderConfig` and
 * `tokenizerMetadata` throw. What the metadata say must be, read again, what the folder says.
 */
export async function folderMetadata(folder: string): Promise<FolderMetadata> {
  const config = await readDecoderConfig(folder);
  const theta = ropeTheta(await readJson(`${folder}/config.json`, baseSchema));
  const layout = layoutFor(config);
  const metadata = new Map([
    ...entriesOf(config, layout, theta),
    ...await tokenizerMetadata(folder, config.vocabulary),
  ]);
  const plain = rotaryFrequencies(config.headSize, theta);
  const quotients = Float32Array.from(config.frequencies, (frequency, i) => plain[i] / frequency);
  const divisors = quotients.every((quotient) => quotient === 1) ? undefined : quotients;
  const shapes = decoderShapes(config);
  const again = decoderConfigOfGguf(
    new GgufMetadata(folder, metadata),
    // Only the architecture llama reads divisors.
    layout.architecture === "llama" ? divisors : undefined,
    (name) => shapes.has(name),
  );
  const own = { ...config, type: layout.architecture };
  const lost = (Object.keys(own) as (keyof DecoderConfig)[]).find((key) => !isSame(own[key], again[key]));
  if (lost !== undefined) {
    throw new Error(
      `${folder}: its config.json sets what GGUF's metadata do not carry (${lost}): merge it into a folder, and convert that ` +
        `with llama.cpp's convert_hf_to_gguf.py`,
    );
  }
  return { metadata, layout, names: shapes.keys(), divisors };
}

function* entriesOf(
  config: DecoderConfig,
  { architecture }: GgufLayout,
  theta: number,
): Generator<[string, GgufValue]> {
  yield ["general.architecture", { type: "string", value: architecture }];
  yield ["general.type", { type: "string", value: "model" }];
  const counts = {
    context_length: config.positions,
    vocab_size: config.vocabulary,
    embedding_length: config.width,
    block_count: config.layers,
    feed_forward_length: config.inner,
    "attention.head_count": config.heads,
    "attention.head_count_kv": config.kvHeads,
    "attention.key_length": config.headSize,
    "attention.value_length": config.headSize,
    "rope.dimension_count": config.headSize,
  };
  for (const [key, value] of Object.entries(counts)) {
    yield [`${architecture}.${key}`, { type: "uint32", value }];
  }
  yield [`${architecture}.attention.layer_norm_rms_epsilon`, { type: "float32", value: config.epsilon }];
  yield [`${architecture}.rope.freq_base`, { type: "float32", value: theta }];
}

/** Equal, numbers but for their rounding to float32. */
function isSame(a: unknown, b: unknown): boolean {
  if (typeof a === "number" && typeof b === "number") {
    return a === b || Math.abs(a - b) <= 2 ** -22 * Math.abs(a);
  }
  if (typeof a !== "object" || typeof b !== "object" || !a || !b) return a === b;
  const [own, other] = [new Map(Object.entries(a)), new Map(Object.entries(b))];
  return own.size === other.size && [...own].every(([key, value]) => isSame(value, other.get(key)));
}
