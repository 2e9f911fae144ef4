/**
 * The tensors of a GGUF model by their names in Hugging Face's models (llama.cpp: gguf-py/gguf/tensor_mapping.py), with the
 * rows in those models' order.
 */

import { show } from "../../show.ts";
import type { GgufPlace } from "./header.ts";
import { inHalves } from "./row_order.ts";
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
  const architecture = metadata.text("general.architecture");
  if (!Object.hasOwn(architectures, architecture)) {
    throw new Error(
      `${metadata.origin}: is of architecture ${show(architecture)}, and ${
        Object.keys(architectures).join(", ")
      } are read: take a model of one of these`,
    );
  }
  const heads = metadata.number(`${architecture}.attention.head_count`);
  const kvHeads = metadata.number(`${architecture}.attention.head_count_kv`, heads);
  const inOrder = (place: GgufPlace) => {
    if (!architectures[architecture].movesRows) return place;
    const [, side] = /^blk\.\d+\.attn_([qk])\./.exec(place.name) ?? [];
    return side ? inHalves(place, side === "q" ? heads : kvHeads) : place;
  };
  return new Map([...places].map(([gguf, place]) => {
    const name = nameOf(gguf);
    if (name !== undefined) return [name, inOrder(place)];
    throw new Error(
      `${place.origin}: tensor ${
        show(gguf)
      } has no counterpart in Hugging Face's ${architecture}: take a model without it`,
    );
  }));
}
