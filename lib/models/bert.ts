/**
 * BERT (Devlin et al. 2019) and RoBERTa (Liu et al. 2019): post-LN encoders that differ in their positions,
 * pooler and special tokens. For a sequence of T tokens, with E, P and S the token, position and token-type
 * embeddings:
 *
 *     x⁰ = LN(E[ids] + P[places] + S[types])                                 T×d
 *     hˡ = LN(xˡ + W_o·MHA(xˡ) + b_o),   scores scaled by head size^−½
 *     xˡ⁺¹ = LN(hˡ + W₂·gelu(W₁·hˡ + b₁) + b₂)                               T×d
 *     text vector (`pooling.ts`): x_0 of the last layer (RoBERTa), tanh(W_p·x_0 + b_p) (BERT), or mean_t x_t
 *
 * This follows transformers' `modeling_bert.py` and `modeling_roberta.py`, including the names: a layer's
 * path is its path in `…ForSequenceClassification`. The trunk's own dropout, used in pretraining, is left
 * out; fine-tuning uses the adapter's dropout.
 */

import type { Tensor } from "../graph/graph.ts";
import { activate } from "../graph/ops/activation.ts";
import { attention } from "../graph/ops/attention.ts";
import { layerNorm } from "../graph/ops/layer_norm.ts";
import { lookup } from "../graph/ops/lookup.ts";
import type { EncoderConfig } from "./hugging_face_config.ts";
import type { LinearModule, LinearRole, Tokens, Tracer } from "./model.ts";
import { tableParts } from "./stored_weight.ts";

/** Name of the token embedding, without the prefix. It may be stored in parts (see `tableParts`). */
export const tokenTable = "embeddings.word_embeddings.weight";

/** Name of the pooler's layer, without the prefix. */
export const poolerLayer = "pooler.dense";

/** Names of the position and token-type embeddings, without the prefix. */
const tables = {
  positions: "embeddings.position_embeddings.weight",
  types: "embeddings.token_type_embeddings.weight",
};

/** The linear modules of one layer: path, target-module name, role, outputs and inputs. */
function layerShapes(
  { width, inner }: EncoderConfig,
): readonly [path: string, target: string, role: LinearRole, m: number, n: number][] {
  return [
    ["attention.self.query", "query", "query", width, width],
    ["attention.self.key", "key", "key", width, width],
    ["attention.self.value", "value", "value", width, width],
    ["attention.output.dense", "attention.output.dense", "attention output", width, width],
    ["intermediate.dense", "intermediate.dense", "feed-forward", inner, width],
    ["output.dense", "output.dense", "feed-forward", width, inner],
  ];
}

/**
 * The linear layers that adapters can be attached to. As in PEFT, the name `output.dense` matches two layers
 * of each block, and `dense` three.
 */
export function linearsOf(config: EncoderConfig): LinearModule[] {
  const { prefix, width, pooler } = config;
  const ofLayers = Array.from(
    { length: config.layers },
    (_, i) =>
      layerShapes(config).map(([path, target, role, m, n]) => ({
        path: `${prefix}.encoder.layer.${i}.${path}`,
        target,
        role,
        m,
        n,
      })),
  ).flat();
  if (!pooler) return ofLayers;
  return [...ofLayers, {
    path: `${prefix}.pooler.dense`,
    target: "pooler.dense",
    m: width,
    n: width,
    role: "other",
    perText: true,
  }];
}

/** Shapes of all weights, by name without the prefix. */
export function weightShapes(config: EncoderConfig): Map<string, readonly number[]> {
  const { width, vocabulary, positions, types, layers, pooler } = config;
  const linear = (path: string, m: number, n: number): [string, readonly number[]][] => [
    [`${path}.weight`, [m, n]],
    [`${path}.bias`, [m]],
  ];
  const norm = (
    path: string,
  ): [string, readonly number[]][] => [[`${path}.weight`, [width]], [`${path}.bias`, [width]]];
  return new Map([
    [tokenTable, [vocabulary, width]],
    [tables.positions, [positions, width]],
    [tables.types, [types, width]],
    ...norm("embeddings.LayerNorm"),
    ...Array.from({ length: layers }, (_, i) => [
      ...layerShapes(config).flatMap(([path, , , m, n]) => linear(`encoder.layer.${i}.${path}`, m, n)),
      ...norm(`encoder.layer.${i}.attention.output.LayerNorm`),
      ...norm(`encoder.layer.${i}.output.LayerNorm`),
    ]).flat(),
    ...pooler ? linear(poolerLayer, width, width) : [],
  ]);
}

/** Tokens → hidden rows [texts · length, width]. */
export function traceBert(config: EncoderConfig, tracer: Tracer, tokens: Tokens): Tensor {
  const { prefix, layers } = config;
  let x = tracer.graph.scope(`${prefix}.embeddings`, () => embed(config, tracer, tokens));
  for (let i = 0; i < layers; i++) {
    const path = `${prefix}.encoder.layer.${i}`;
    x = tracer.graph.scope(path, () => layer(config, tracer, path, x, tokens.lengths));
  }
  return x;
}

/**
 * The rows of the position table for a text's tokens: consecutive, starting at the first position. In
 * RoBERTa, a padding token inside the text gets the row before the first position and is not counted
 * (transformers' `create_position_ids_from_input_ids`). BERT counts it like any other token.
 */
export function placesOf({ firstPosition }: EncoderConfig, ids: readonly number[]): number[] {
  // The padding token's id in families whose positions start after it. Otherwise −1, which matches no token.
  const padding = firstPosition - 1;
  let next = firstPosition;
  return ids.map((id) => id === padding ? padding : next++);
}

function embed(config: EncoderConfig, tracer: Tracer, { ids, places, types }: Tokens): Tensor {
  const at = (name: string) => `${config.prefix}.${name}`;
  const typed = lookup(types, tracer.weight(at(tables.types)));
  let x = lookup(places, tracer.weight(at(tables.positions)), { onto: typed });
  for (const { name, from } of tableParts(at(tokenTable), [config.vocabulary, config.width])) {
    x = lookup(ids, tracer.weight(name), { firstRow: from, onto: x });
  }
  return norm(config, tracer, at("embeddings.LayerNorm"), x);
}

function layer(config: EncoderConfig, tracer: Tracer, path: string, x: Tensor, lengths: Tensor): Tensor {
  const { width, heads, activation } = config;
  const [q, k, v] = ["query", "key", "value"].map((name) =>
    tracer.linear(`${path}.attention.self.${name}`, x)
  );
  const attended = attention(q, k, v, lengths, { heads, scale: (width / heads) ** -0.5 });
  const mixed = tracer.linear(`${path}.attention.output.dense`, attended, { residual: x });
  const h = norm(config, tracer, `${path}.attention.output.LayerNorm`, mixed);
  const grown = activate(activation, tracer.linear(`${path}.intermediate.dense`, h));
  const y = tracer.linear(`${path}.output.dense`, grown, { residual: h });
  return norm(config, tracer, `${path}.output.LayerNorm`, y);
}

function norm({ epsilon }: EncoderConfig, tracer: Tracer, path: string, x: Tensor): Tensor {
  return layerNorm(x, tracer.weight(`${path}.weight`), tracer.weight(`${path}.bias`), epsilon);
}
