/** Tiny decoders as GGUF files. */

import { ggufName, inFileOrder } from "../../lib/models/gguf/hugging_face_places.ts";
import type { GgufValue } from "../../lib/models/gguf/metadata.ts";
import { type GgufTensor, writeGguf } from "../../lib/models/gguf/writer.ts";
import type { DecoderCase } from "./decoder_reference.ts";
import { seededDecoder } from "./seeded_checkpoint.ts";

function architectureOf(modelType: string): string {
  return modelType === "mistral" ? "llama" : modelType;
}

function metadataOf({ config }: DecoderCase): Map<string, GgufValue> {
  const { vocab_size: size } = config;
  const type = architectureOf(config.model_type);
  const number = (key: string, kind = "uint32") => ({ type: kind, value: config[key] as number });
  // Where transformers 5 saves it.
  const { rope_theta: theta } = (config.rope_parameters ?? config) as { readonly rope_theta: number };
  const text = (value: string) => ({ type: "string", value });
  const characters = Array.from({ length: size - 5 }, (_, i) => String.fromCharCode(33 + i));
  return new Map<string, GgufValue>([
    ["general.architecture", text(type)],
    ["general.file_type", { type: "uint32", value: 0 }],
    [`${type}.context_length`, number("max_position_embeddings")],
    [`${type}.embedding_length`, number("hidden_size")],
    [`${type}.block_count`, number("num_hidden_layers")],
    [`${type}.feed_forward_length`, number("intermediate_size")],
    [`${type}.attention.head_count`, number("num_attention_heads")],
    [`${type}.attention.head_count_kv`, number("num_key_value_heads")],
    [`${type}.attention.layer_norm_rms_epsilon`, number("rms_norm_eps", "float32")],
    [`${type}.rope.freq_base`, { type: "float32", value: theta }],
    ...config.head_dim ? [[`${type}.attention.key_length`, number("head_dim")] as [string, GgufValue]] : [],
    ["tokenizer.ggml.model", text("gpt2")],
    ["tokenizer.ggml.pre", text("qwen2")],
    ["tokenizer.ggml.tokens", { type: "array", value: ["<unk>", "<s>", "</s>", "Ġ", ...characters, "!!"] }],
    ["tokenizer.ggml.token_type", {
      ...{ type: "array", value: Int32Array.from({ length: size }, (_, id) => id < 3 ? 3 : 1) },
    }],
    ["tokenizer.ggml.merges", { type: "array", value: ["! !"] }],
    ["tokenizer.ggml.eos_token_id", { type: "uint32", value: 2 }],
  ]);
}

/**
 * Writes a case's model, with the values of `writeDecoder` in float32, queries and keys in llama.cpp's order and 1 added to
 * Gemma's norms, as one file, or as a set of two if the path ends so.
 */
export async function writeGgufDecoder(path: string, expected: DecoderCase): Promise<void> {
  const { config } = expected;
  const layout = {
    architecture: architectureOf(config.model_type),
    heads: config.num_attention_heads as number,
    kvHeads: config.num_key_value_heads as number,
  };
  const tensors = Object.entries(expected.tensors).map(([name, { shape }]): GgufTensor => {
    const gguf = ggufName(name)!;
    const drawn = seededDecoder(name, shape, config.model_type);
    // As llama.cpp's converter writes Gemma's norms.
    const isShifted = config.model_type === "gemma" && name.endsWith("norm.weight");
    const own = isShifted ? drawn.map((value) => value + 1) : drawn;
    const values = inFileOrder(layout, gguf, own, shape[0]);
    return { name: gguf, dtype: "F32", shape, pieces: () => [new Uint8Array(values.buffer)] };
  });
  const metadata = metadataOf(expected);
  if (!path.endsWith("-00001-of-00002.gguf")) return await writeGguf(path, metadata, tensors);
  for (const part of [0, 1]) {
    const split = new Map<string, GgufValue>([
      ...part === 0 ? metadata : [],
      ["split.no", { type: "uint16", value: part }],
      ["split.count", { type: "uint16", value: 2 }],
      ["split.tensors.count", { type: "int32", value: tensors.length }],
    ]);
    const own = tensors.filter((_, i) => i % 2 === part);
    await writeGguf(path.replace("00001-of", `0000${part + 1}-of`), split, own);
  }
}

/** Gives the tokenizer of a folder of `writeDecoder` a pair of letters that is a token: GGUF wants a list of merges. */
export async function addMerge(folder: string): Promise<void> {
  const path = `${folder}/tokenizer.json`;
  const json = JSON.parse(await Deno.readTextFile(path));
  const [last, id] = Object.entries(json.model.vocab).at(-1)!;
  delete json.model.vocab[last];
  json.model.vocab["!!"] = id;
  json.model.merges = [["!", "!"]];
  await Deno.writeTextFile(path, JSON.stringify(json));
}
