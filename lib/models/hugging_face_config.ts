/** Reads and checks the `config.json` of BERT-like encoders. */

import * as v from "npm:valibot@1.5.0";
import { fitting, readAnyJson } from "../files.ts";
import type { Activation } from "../graph/ops/activation.ts";
import { type HeadLayout, plainHead } from "./model.ts";
import { modelTypeIn } from "./model_type.ts";
import type { Pooling } from "./pooling.ts";
import { readPooling } from "./sentence_pooling.ts";

/** The differences between families of encoders. */
interface Family {
  /** The trunk's name in a model with a head. */
  readonly prefix: string;
  /** transformers' class for the trunk with a sequence-classification head. */
  readonly classifier: string;
  /** Whether a text's first position is the padding token's id plus one. */
  readonly offsetPositions: boolean;
  /** Whether the tokens of a pair's second text have type 1. */
  readonly typedPairs: boolean;
  /** Whether the trunk ends in a pooler, a tanh layer on the first token. */
  readonly pooler: boolean;
  /** The head of `classifier`. */
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

/** By `model_type`. To add a family that differs only in these fields, add a line here. */
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

/** The values of `model_type` that are read. */
export const encoderTypes: readonly string[] = Object.keys(families);

/** Activations by transformers' names in `hidden_act`. */
const activations: Readonly<Record<string, Activation>> = { gelu: "gelu", gelu_python: "gelu", relu: "relu" };

/** The architecture of an encoder, from its configuration. */
export interface EncoderConfig extends Family {
  readonly pooling: Pooling;
  /** True if tokens are not pooled as in `classifier`. There is no pooler then, and no head of that class. */
  readonly pooledByFolder?: true;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly inner: number;
  readonly activation: Activation;
  readonly epsilon: number;
  readonly vocabulary: number;
  /** Number of rows of the position table, and the row of a text's first token. */
  readonly positions: number;
  readonly firstPosition: number;
  readonly types: number;
  /** Standard deviation of newly initialised weights. */
  readonly initializerRange: number;
}

const count = v.pipe(v.number(), v.integer(), v.minValue(1));

const configSchema = v.looseObject({
  hidden_size: count,
  // Bounded, because the names of all layers' tensors are listed before any tensor is read.
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
  position_embedding_type: v.nullish(v.string(), "absolute"),
  is_decoder: v.optional(v.boolean(), false),
});

/**
 * Reads the `config.json` of `folder`, and how it pools tokens if it is of sentence-transformers.
 * @throws Error that names the file, the field and its value, and the values that are supported.
 */
export async function readEncoderConfig(folder: string): Promise<EncoderConfig> {
  const path = `${folder}/config.json`;
  return withPooling(encoderConfigOf(path, await readAnyJson(path)), await readPooling(folder));
}

/**
 * The same architecture with this pooling. Unless that is the family's own, no class of transformers has a head on such vectors:
 * the head gets this library's own name, so that nothing takes it for one on other vectors.
 */
export function withPooling(config: EncoderConfig, pooling: Pooling | undefined): EncoderConfig {
  if (pooling === undefined || pooling === config.pooling && !config.pooler) return config;
  return { ...config, pooling, pooledByFolder: true, pooler: false, head: plainHead };
}

/**
 * Checks `json`, the content of the `config.json` at `path`.
 * @throws Error as `readEncoderConfig` does.
 */
export function encoderConfigOf(path: string, json: unknown): EncoderConfig {
  const family = families[modelTypeIn(path, json, encoderTypes)];
  return checkedConfig(path, family, fitting(path, configSchema, json));
}

function checkedConfig(
  path: string,
  family: Family,
  config: v.InferOutput<typeof configSchema>,
): EncoderConfig {
  const { hidden_size: width, num_attention_heads: heads } = config;
  const refuse = (field: keyof typeof config, wanted: string): never => {
    throw new Error(`${path}: ${field} is ${JSON.stringify(config[field])}: ${wanted}`);
  };
  if (!Object.hasOwn(activations, config.hidden_act)) {
    refuse("hidden_act", `use a model with one of ${Object.keys(activations).join(", ")}`);
  }
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
    pooling: "first",
    width,
    heads,
    activation: activations[config.hidden_act],
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
