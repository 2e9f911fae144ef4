/**
 * The tensors of a GGUF model by their names in Hugging Face's models (llama.cpp: gguf-py/gguf/tensor_mapping.py), with the
 * rows in those models' order.
 */

import { show } from "../../show.ts";
import type { DecoderConfig } from "../decoder_config.ts";
import type { GgufPlace } from "./header.ts";
import type { GgufMetadata } from "./metadata.ts";
import { inHalves, rowInPairs } from "./row_order.ts";
import type { GgufModel } from "./split_set.ts";

/** Architectures that are read; those whose converter moves the rows of queries and keys. */
const architectures: Readonly<Record<string, { readonly movesRows: boolean }>> = {
  llama: { movesRows: true },
  qwen2: { movesRows: false },
  qwen3: { movesRows: false },
  gemma: { movesRows: false },
};

const outside: Readonly<Record<string, string>> = {
  token_embd: "model.embed_tokens",
  output_norm: "model.norm",
  output: "lm_head",
};

const inBlock: Readonly<Record<string, string>> = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  attn_q_norm: "self_attn.q_norm",
  attn_k_norm: "self_attn.k_norm",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};

/**
 * The divisors of a rotation's frequencies, which Hugging Face's models compute from their configuration instead.
 */
export const ropeDivisors = "rope_freqs.weight";

/** What llama.cpp calls an architecture by, and how its files order the rows of queries and keys. */
export interface GgufLayout {
  /** `general.architecture`. */
  readonly architecture: string;
  readonly heads: number;
  readonly kvHeads: number;
}

/** The layout of a GGUF file. Throws an Error with its path for an architecture that is not read. */
export function layoutOf(metadata: GgufMetadata): GgufLayout {
  const architecture = metadata.text("general.architecture");
  if (!Object.hasOwn(architectures, architecture)) {
    throw new Error(
      `${metadata.origin}: is of architecture ${show(architecture)}, and ${
        Object.keys(architectures).join(", ")
      } are read: take a model of one of these`,
    );
  }
  const heads = metadata.number(`${architecture}.attention.head_count`);
  return { architecture, heads, kvHeads: metadata.number(`${architecture}.attention.head_count_kv`, heads) };
}

/** The layout that llama.cpp's converter gives a decoder of transformers, by its configuration. */
export function layoutFor({ type, heads, kvHeads }: DecoderConfig): GgufLayout {
  return { architecture: type === "mistral" ? "llama" : type, heads, kvHeads };
}

/** The heads whose rows a tensor of this name in GGUF has moved; undefined where rows keep their places. */
export function movedHeads({ architecture, heads, kvHeads }: GgufLayout, gguf: string): number | undefined {
  const [, side] = /^blk\.\d+\.attn_([qk])\./.exec(gguf) ?? [];
  if (side === undefined || !architectures[architecture].movesRows) return undefined;
  return side === "q" ? heads : kvHeads;
}

/** The matrix of `rows` rows in Hugging Face's order as the tensor called `gguf` has it. */
export function inFileOrder(
  layout: GgufLayout,
  gguf: string,
  values: Float32Array<ArrayBuffer>,
  rows: number,
): Float32Array<ArrayBuffer> {
  const heads = movedHeads(layout, gguf);
  if (heads === undefined) return values;
  const rowAt = rowInPairs(rows, heads);
  if (!rowAt) throw new Error(`${show(gguf)} has ${rows} rows, no ${heads} heads of an even number`);
  const [moved, width] = [new Float32Array(values.length), values.length / rows];
  for (let row = 0; row < rows; row++) {
    moved.set(values.subarray(row * width, (row + 1) * width), rowAt(row) * width);
  }
  return moved;
}

/** The name in GGUF of a tensor of a decoder, by its name in Hugging Face's model; undefined if none is known. */
export function ggufName(name: string): string | undefined {
  if (name === ropeDivisors) return name;
  const [, layer, path, kind] = /^(?:model\.layers\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(name) ?? [];
  const [names, prefix] = layer === undefined ? [outside, ""] : [inBlock, `blk.${layer}.`];
  const [gguf] = Object.entries(names).find(([, own]) => own === path) ?? [];
  return gguf && `${prefix}${gguf}.${kind}`;
}

/** Hugging Face's name of a tensor; undefined if none is known. */
function nameOf(gguf: string): string | undefined {
  if (gguf === ropeDivisors) return gguf;
  const [, block, module, kind] = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(gguf) ?? [];
  if (block === undefined) return Object.hasOwn(outside, module) ? `${outside[module]}.${kind}` : undefined;
  return Object.hasOwn(inBlock, module) ? `model.layers.${block}.${inBlock[module]}.${kind}` : undefined;
}

/**
 * The model's tensors by their names in Hugging Face's models of its architecture; `ropeDivisors` keeps its own. Values are
 * the file's: Gemma's norms have 1 + w where Hugging Face's files have w.
 * @throws Error with the file's path for an architecture that is not read, a tensor whose name has no counterpart, and
 * head counts that do not fit queries and keys.
 */
export function huggingFacePlaces({ metadata, places }: GgufModel): Map<string, GgufPlace> {
  const layout = layoutOf(metadata);
  const inOrder = (place: GgufPlace) => {
    const heads = movedHeads(layout, place.name);
    return heads === undefined ? place : inHalves(place, heads);
  };
  return new Map([...places].map(([gguf, place]) => {
    const name = nameOf(gguf);
    if (name !== undefined) return [name, inOrder(place)];
    throw new Error(
      `${place.origin}: tensor ${
        show(gguf)
      } has no counterpart in Hugging Face's ${layout.architecture}: take a model without it`,
    );
  }));
}
