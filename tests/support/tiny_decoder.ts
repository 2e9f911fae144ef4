/** A tiny decoder in a folder, with tokens for the words that prompts are made of: its weights are drawn by name. */

import { decoderConfigOf } from "../../lib/models/decoder_config.ts";
import { decoderShapes } from "../../lib/models/llama.ts";
import { cases, writeDecoder } from "./decoder_reference.ts";

const config = {
  ...cases["LLaMA 2"].config,
  vocab_size: 640,
  hidden_size: 64,
  intermediate_size: 80,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 1024,
};

/** Of LLM-Adapters' prompts and of the questions in `support/llm_adapters_files.ts`, as byte-level tokens. */
const words =
  "Below is an instruction that describes a task . Write response appropriately completes the request ### Instruction Response " +
  "Please choose correct answer to question Answer format answer1 answer2 solution Definition Kind";

/** Tokens and merges by which each word is one token, with a space before it and without. */
function vocabulary(): { vocab: Record<string, number>; merges: string[] } {
  const characters = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));
  const tokens = ["<unk>", "<s>", "</s>", "Ġ", "Ċ", ...characters];
  const merges = new Map<string, string>();
  const join = (left: string, right: string) => merges.set(left + right, `${left} ${right}`);
  for (let spaces = "Ġ"; spaces.length < 8; spaces += spaces) join(spaces, spaces);
  for (const word of words.split(" ").flatMap((word) => [word, `Ġ${word}`])) {
    for (let i = 1; i < word.length; i++) join(word.slice(0, i), word[i]);
  }
  const all = [...tokens, ...[...merges.keys()].filter((token) => !tokens.includes(token))];
  return { vocab: Object.fromEntries(all.map((token, id) => [token, id])), merges: [...merges.values()] };
}

/** Writes it to `folder`. */
export async function writeTinyDecoder(folder: string): Promise<void> {
  const shapes = decoderShapes(decoderConfigOf("tiny", config));
  const tensors = Object.fromEntries([...shapes].map(([name, shape]) => [name, { shape, sha256: "" }]));
  await writeDecoder(folder, { ...cases["LLaMA 2"], config, tensors });
  const path = `${folder}/tokenizer.json`;
  const tokenizer = JSON.parse(await Deno.readTextFile(path));
  await Deno.writeTextFile(
    path,
    JSON.stringify({ ...tokenizer, model: { ...tokenizer.model, ...vocabulary() } }),
  );
}
