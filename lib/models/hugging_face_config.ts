/** What a BERT-like encoder's `config.json` says, checked. */

import * as v from "npm:valibot@1.5.0";
import type { Activation } from "../graph/ops/activation.ts";
import { fitting, readJson } from "../files.ts";
import type { HeadLayout } from "./model.ts";

/** What tells one family of encoders from another. */
interface Family {
  /** The trunk's name in a model with a head. */
  readonly prefix: string;
  /** transformers' class of the trunk with a head for whole texts. */
  readonly classifier: string;
  /** Whether the first text's position is that of the padding token, plus one. */
  readonly offsetPositions: boolean;
  /** Whether the second text of a pair has tokens of type 1. */
  readonly typedPairs: boolean;
  /** Whether the trunk ends in a tanh layer over the first token. */
  readonly pooler: boolean;
  readonly head: HeadLayout;
}

const robertaFamily: Family = {
  prefix: "roberta",
  classifier: "RobertaForSequenceClassification",
  offsetPositions: true,
  typedPairs: false,
  pooler: false,
  head: { module: "classifier", dense: "classifier.dense", projection: "classifier.out_proj" },
};

/** By `model_type`. To add one that differs in no more than this: a line here. */
const families: Readonly<Record<string, Family>> = {
  roberta: robertaFamily,
  "xlm-roberta": { ...robertaFamily, classifier: "XLMRobertaForSequenceClassification" },
  bert: {
    prefix: "bert",
    classifier: "BertForSequenceClassification",
    offsetPositions: false,
    typedPairs: true,
    pooler: true,
    head: { module: "classifier", projection: "classifier" },
  },
};

/** `hidden_act` by transformers' names. */
const activations: Readonly<Record<string, Activation>> = { gelu: "gelu", gelu_python: "gelu", relu: "relu" };

/** An encoder, as its configuration describes it. */
export interface EncoderConfig extends Family {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly inner: number;
  readonly activation: Activation;
  readonly epsilon: number;
  readonly vocabulary: number;
  /** Rows of the position table, and which of them is a text's first token's. */
  readonly positions: number;
  readonly firstPosition: number;
  readonly types: number;
  /** Standard deviation of weights before any training. */
  readonly initializerRange: number;
}

const count = v.pipe(v.number(), v.integer(), v.minValue(1));

const configSchema = v.looseObject({
  model_type: v.string(),
  hidden_size: count,
  // Every layer's tensors are listed before the first is looked for.
  num_hidden_layers: v.pipe(count, v.maxValue(10_000)),
  num_attention_heads: count,
  intermediate_size: count,
  hidden_act: v.string(),
  layer_norm_eps: v.optional(v.pipe(v.number(), v.gtValue(0)), 1e-12),
  vocab_size: count,
  max_position_embeddings: count,
  type_vocab_size: v.optional(count, 2),
  initializer_range: v.optional(v.pipe(v.number(), v.gtValue(0)), 0.02),
  pad_token_id: v.optional(v.nullable(v.pipe(v.number(), v.integer(), v.minValue(0)))),
  position_embedding_type: v.optional(v.string(), "absolute"),
  is_decoder: v.optional(v.boolean(), false),
});

/**
 * Reads `config.json`.
 * @throws Error naming the file, the field and its value, and what there may be in its place.
 */
export async function readEncoderConfig(path: string): Promise<EncoderConfig> {
  return checkedConfig(path, await readJson(path, configSchema));
}

/**
 * What a `config.json` at `path` says, `json` being its content.
 * @throws Error as `readEncoderConfig` does.
 */
export function encoderConfigOf(path: string, json: unknown): EncoderConfig {
  return checkedConfig(path, fitting(path, configSchema, json));
}

function checkedConfig(path: string, config: v.InferOutput<typeof configSchema>): EncoderConfig {
  const { hidden_size: width, num_attention_heads: heads } = config;
  const refuse = (field: keyof typeof config, wanted: string): never => {
    throw new Error(`${path}: ${field} is ${JSON.stringify(config[field])}: ${wanted}`);
  };
  const choose = <T>(field: "model_type" | "hidden_act", table: Readonly<Record<string, T>>): T =>
    Object.hasOwn(table, config[field])
      ? table[config[field]]
      : refuse(field, `use a model with one of ${Object.keys(table).join(", ")}`);
  const family = choose("model_type", families);
  const activation = choose("hidden_act", activations);
  if (width % heads !== 0 || width / heads % 4 !== 0) {
    refuse("num_attention_heads", `it must cut hidden_size ${width} into heads of a multiple of 4`);
  }
  if (config.position_embedding_type !== "absolute") {
    refuse("position_embedding_type", `use one with "absolute"`);
  }
  if (config.is_decoder) refuse("is_decoder", "use an encoder");
  const firstPosition = family.offsetPositions ? (config.pad_token_id ?? 1) + 1 : 0;
  if (config.max_position_embeddings <= firstPosition) {
    refuse("max_position_embeddings", `positions begin at ${firstPosition}: there must be more of them`);
  }
  return {
    ...family,
    width,
    heads,
    activation,
    firstPosition,
    layers: config.num_hidden_layers,
    inner: config.intermediate_size,
    epsilon: config.layer_norm_eps,
    vocabulary: config.vocab_size,
    positions: config.max_position_embeddings,
    types: config.type_vocab_size,
    initializerRange: config.initializer_range,
  };
}
