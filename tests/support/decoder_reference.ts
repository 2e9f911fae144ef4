/** `fixtures/decoder_reference.json`: what transformers and PEFT make of tiny decoders, and the folders of these decoders. */

import type { LanguageExample } from "../../lib/models/encoded_row.ts";
import fixture from "../fixtures/decoder_reference.json" with { type: "json" };
import { seededDecoder, type TensorOptions, writeTensors } from "./seeded_checkpoint.ts";

/** What is generated after a prompt. */
export interface Continuation {
  readonly prompt: readonly number[];
  /** The new ids, the end token among them if one was found. */
  readonly ids: readonly number[];
}

/** What a prompt's beams have found. */
export interface Beams {
  readonly prompt: readonly number[];
  /** Best first. `score`: Σ log p / number of ids. */
  readonly found: readonly { readonly ids: readonly number[]; readonly score: number }[];
}

/** A decoder without something that is special to its family. */
export interface Ablation {
  /** Settings that take it away; null where it is taken from the weights or the code. */
  readonly config: Readonly<Record<string, unknown>> | null;
  /** How far the logits of the first row move at most, by place. */
  readonly differences: readonly number[];
  /** The logits at the first row's last place, [vocabulary]. */
  readonly lastLogits: readonly number[];
}

/** A decoder, and what transformers makes of `rows` and of prompts. */
export interface DecoderCase {
  readonly config: Readonly<Record<string, unknown>> & {
    readonly model_type: string;
    readonly vocab_size: number;
  };
  /** What transformers saves, by name. The digest is of the values as float32. */
  readonly tensors: Readonly<
    Record<string, { readonly shape: readonly number[]; readonly sha256: string }>
  >;
  /** Of each row, [its length, vocabulary]. */
  readonly logits: readonly (readonly number[])[];
  readonly without: Readonly<Record<string, Ablation>>;
  /** Steps on both rows in one batch; losses are means over the labelled ids. */
  readonly training: {
    /** Before each step. */
    readonly losses: readonly number[];
    readonly lossAfter: number;
    /** Of the whole gradient, before it is clipped. */
    readonly norms: readonly number[];
    /** Of the first step, before it is clipped, by the adapter's tensors. */
    readonly gradients: Readonly<Record<string, readonly number[]>>;
  };
  readonly generation: {
    /** End tokens. */
    readonly eos: readonly number[];
    readonly greedy: readonly Continuation[];
    readonly beams?: readonly Beams[];
    /** Greedy, with `repetitionPenalty`. */
    readonly penalized?: readonly Continuation[];
  };
}

/** Decoders by name. */
export const cases: Readonly<Record<string, DecoderCase>> = fixture.cases;

/** The rows of every case. Their prompts are not learnt. */
export const rows: readonly LanguageExample[] = fixture.rows.map(({ ids, prompt }, row) => ({
  where: `row ${row}`,
  ids,
  labelled: ids.map((_, place) => place >= prompt),
  promptLength: prompt,
}));

/** The adapter of every case. Its tensors start at `seeded` values of their names. */
export const loraOptions = {
  r: fixture.lora.r,
  alpha: fixture.lora.alpha,
  target: fixture.lora.targets,
};

/** How many steps every case is trained: the learning rate falls to 0 linearly after the last. */
export const trainingSteps = fixture.training.steps;

/** How every case is trained. */
export const trainingOptions = {
  learningRate: fixture.training.lr,
  beta1: fixture.training.betas[0],
  beta2: fixture.training.betas[1],
  epsilon: fixture.training.eps,
  weightDecay: fixture.training.weight_decay,
  maxNorm: fixture.training.maxNorm,
};

/** How every case generates. */
export const { newTokens, numBeams, repetitionPenalty } = fixture;

/** Three marks, a space and printable characters: a token each, as many as the models have rows. */
function tokenizerFiles(size: number): Record<string, unknown> {
  const marks = ["<unk>", "<s>", "</s>"];
  const characters = Array.from({ length: size - 4 }, (_, i) => String.fromCharCode(33 + i));
  const tokens = [...marks, "Ġ", ...characters];
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    "tokenizer.json": {
      version: "1.0",
      added_tokens: marks.map((content, id) => ({ id, content, ...plain })),
      normalizer: null,
      pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
      post_processor: {
        type: "TemplateProcessing",
        single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
        pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 0 } }],
        special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
      },
      decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: { type: "BPE", vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges: [] },
    },
    "tokenizer_config.json": { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" },
  };
}

/** Writes a case's folder: its settings, its tokenizer, and its weights, drawn by name; a head is that of a tied case's embeddings. */
export async function writeDecoder(
  folder: string,
  { config, tensors, generation }: DecoderCase,
  options: TensorOptions = {},
): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  const files = {
    "config.json": config,
    "generation_config.json": { bos_token_id: config.bos_token_id, eos_token_id: generation.eos },
    ...tokenizerFiles(config.vocab_size),
  };
  for (const [name, json] of Object.entries(files)) {
    await Deno.writeTextFile(`${folder}/${name}`, JSON.stringify(json));
  }
  const shapes = Object.entries(tensors).map(([name, { shape }]) => ({ name, shape }));
  const drawnAs = (name: string) =>
    config.tie_word_embeddings && name === "lm_head.weight" ? "model.embed_tokens.weight" : name;
  await writeTensors(
    folder,
    shapes,
    ({ name, shape }) => seededDecoder(drawnAs(name), shape, config.model_type),
    options,
  );
}
