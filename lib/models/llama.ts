/**
 * LLaMA (Touvron et al. 2023) and the decoders that differ from it by configuration: Mistral, Qwen2, Qwen3 and Gemma. For a
 * sequence of T tokens, with E the embeddings and ⊙ by head where a model has it:
 *
 *     x⁰ = s·E[ids]                                                                            T×d
 *     hˡ = xˡ + W_o·Attention(R(q), R(k), v),   q, k, v = W·RMSNorm(xˡ) + b, causal, in groups of heads
 *     xˡ⁺¹ = hˡ + W_down·(a(W_gate·z) ⊙ W_up·z),   z = RMSNorm(hˡ)                             T×d
 *     hidden rows: RMSNorm(x of the last layer);   logits of the next token: hidden · headᵀ
 *
 * R rotates by positions (`rotary.ts`). This follows transformers' `modeling_llama.py` and its kin, including the names: a
 * layer's path is its path in `…ForCausalLM`. The trunk's own dropout is left out.
 */

import type { Tensor } from "../graph/graph.ts";
import { attention } from "../graph/ops/attention.ts";
import { add } from "../graph/ops/binary.ts";
import { gatedUnit } from "../graph/ops/gated_unit.ts";
import { reshape } from "../graph/ops/layout.ts";
import { lookup } from "../graph/ops/lookup.ts";
import { rmsNorm } from "../graph/ops/rms_norm.ts";
import { rotary, rotaryTable } from "../graph/ops/rotary.ts";
import { scaleColumns } from "../graph/ops/scale_columns.ts";
import type { DecoderConfig } from "./decoder_config.ts";
import type { LinearModule, LinearRole, Tokens, Tracer, Weight } from "./model.ts";

/** Names of the tables. */
export const embeddingTable = "model.embed_tokens.weight";
export const headTable = "lm_head.weight";

/** Tables of embeddings, which may be cut into parts, each small enough for every device to bind. */
export const decoderTables: readonly string[] = [embeddingTable, headTable];

/** True for the name of a norm's weight, in a layer, in its heads or after the last. */
export function isNorm(name: string): boolean {
  return name.endsWith("norm.weight");
}

/** The table whose products with a hidden row are the next token's logits. */
export function outputTable({ tied }: Pick<DecoderConfig, "tied">): string {
  return tied ? embeddingTable : headTable;
}

interface LayerLinear {
  readonly name: string;
  readonly role: LinearRole;
  readonly m: number;
  readonly n: number;
  readonly bias: boolean;
}

/** The linear layers of one layer. */
function linearsOfLayer(config: DecoderConfig): LayerLinear[] {
  const { width, inner, heads, kvHeads, headSize, biases } = config;
  const [q, kv] = [heads * headSize, kvHeads * headSize];
  return [
    { name: "self_attn.q_proj", role: "query", m: q, n: width, bias: biases.qkv },
    { name: "self_attn.k_proj", role: "key", m: kv, n: width, bias: biases.qkv },
    { name: "self_attn.v_proj", role: "value", m: kv, n: width, bias: biases.qkv },
    { name: "self_attn.o_proj", role: "attention output", m: width, n: q, bias: biases.output },
    { name: "mlp.gate_proj", role: "feed-forward", m: inner, n: width, bias: biases.feedForward },
    { name: "mlp.up_proj", role: "feed-forward", m: inner, n: width, bias: biases.feedForward },
    { name: "mlp.down_proj", role: "feed-forward", m: width, n: inner, bias: biases.feedForward },
  ];
}

const layerPath = (i: number) => `model.layers.${i}`;

/** The linear layers that adapters can be attached to: PEFT's all-linear, which leaves out the head. */
export function decoderLinears(config: DecoderConfig): LinearModule[] {
  return Array.from(
    { length: config.layers },
    (_, i) =>
      linearsOfLayer(config).map(({ name, role, m, n }): LinearModule => ({
        path: `${layerPath(i)}.${name}`,
        target: name.split(".")[1],
        role,
        m,
        n,
      })),
  ).flat();
}

/** Shapes of all weights, by name. */
export function decoderShapes(config: DecoderConfig): Map<string, readonly number[]> {
  const { vocabulary, width, headSize, headNorms, layers, tied } = config;
  const norms = ["input_layernorm", "post_attention_layernorm"].map((name) => [name, width] as const);
  const ofHeads = headNorms
    ? ["self_attn.q_norm", "self_attn.k_norm"].map((name) => [name, headSize] as const)
    : [];
  const table = [vocabulary, width];
  return new Map<string, readonly number[]>([
    [embeddingTable, table],
    ...Array.from({ length: layers }, (_, i): [string, readonly number[]][] => [
      ...linearsOfLayer(config).flatMap(({ name, m, n, bias }): [string, readonly number[]][] => [
        [`${layerPath(i)}.${name}.weight`, [m, n]],
        ...bias ? [[`${layerPath(i)}.${name}.bias`, [m]] as [string, readonly number[]]] : [],
      ]),
      ...[...norms, ...ofHeads].map(([name, size]): [string, readonly number[]] => [
        `${layerPath(i)}.${name}.weight`,
        [size],
      ]),
    ]).flat(),
    ["model.norm.weight", [width]],
    ...tied ? [] : [[headTable, table] as [string, readonly number[]]],
  ]);
}

/** The tables that no method trains, for texts of up to `positions` tokens. */
export function decoderConstants(config: DecoderConfig, positions: number): Map<string, Weight> {
  const { width, headSize, frequencies, embeddingScale, normOffset, headNorms } = config;
  const filled = (size: number, value: number): Weight => ({
    shape: [size],
    data: new Float32Array(size).fill(value),
  });
  return new Map<string, Weight>([
    ["rotary", rotaryTable(positions, frequencies)],
    ...embeddingScale === 1 ? [] : [["embedding scale", filled(width, embeddingScale)] as [string, Weight]],
    ...normOffset === 0 ? [] : [[`ones of ${width}`, filled(width, 1)] as [string, Weight]],
    ...normOffset === 0 || !headNorms
      ? []
      : [[`ones of ${headSize}`, filled(headSize, 1)] as [string, Weight]],
  ]);
}

/** Tokens → hidden rows [texts · length, width]. */
export function traceDecoder(config: DecoderConfig, tracer: Tracer, tokens: Tokens): Tensor {
  const { layers, embeddingScale } = config;
  let x = tracer.graph.scope("model.embed_tokens", () => {
    const rows = lookupIn(tracer, tokens.ids);
    return embeddingScale === 1 ? rows : scaleColumns(rows, tracer.constant("embedding scale"));
  });
  for (let i = 0; i < layers; i++) {
    x = tracer.graph.scope(layerPath(i), () => layer(config, tracer, i, x, tokens));
  }
  return tracer.graph.scope("model.norm", () => norm(config, tracer, "model.norm", x));
}

/** The tokens' embeddings, of a table that may lie in parts. */
function lookupIn(tracer: Tracer, ids: Tensor): Tensor {
  let found: Tensor | undefined;
  for (const { weight, first } of tracer.table(embeddingTable)) {
    found = lookup(ids, weight, { firstRow: first, onto: found });
  }
  return found!;
}

function layer(config: DecoderConfig, tracer: Tracer, i: number, x: Tensor, tokens: Tokens): Tensor {
  const { heads, kvHeads, headSize, window, windowFrom, activation } = config;
  const path = layerPath(i);
  const linear = (name: string, of: Tensor, residual?: Tensor) =>
    tracer.linear(`${path}.${name}`, of, { residual });
  const normed = norm(config, tracer, `${path}.input_layernorm`, x);
  const [q, k, v] = ["q", "k", "v"].map((name) => linear(`self_attn.${name}_proj`, normed));
  const [queries, keys] = [["q", q] as const, ["k", k] as const].map(([name, rows]) =>
    ofHeads(config, tracer, `${path}.self_attn.${name}_norm`, rows)
  );
  const rotation = { table: tracer.constant("rotary"), places: tokens.places };
  const turned = (rows: Tensor) => rotary(rows, rotation.table, rotation.places);
  const options = {
    heads,
    kvHeads,
    scale: headSize ** -0.5,
    window: i >= windowFrom ? window : Infinity,
  };
  const attended = tokens.cache
    ? tokens.cache.attend(path, queries, { keys, values: v }, { ...options, rotation })
    : attention(turned(queries), turned(keys), v, tokens.lengths, { ...options, causal: true });
  const h = linear("self_attn.o_proj", attended, x);
  const z = norm(config, tracer, `${path}.post_attention_layernorm`, h);
  return linear(
    "mlp.down_proj",
    gatedUnit(activation, linear("mlp.gate_proj", z), linear("mlp.up_proj", z)),
    h,
  );
}

/** Queries or keys, normalised head by head where the model does so. */
function ofHeads(config: DecoderConfig, tracer: Tracer, path: string, rows: Tensor): Tensor {
  if (!config.headNorms) return rows;
  const { headSize } = config;
  const [tokens, width] = rows.shape;
  const each = reshape(rows, [tokens * width / headSize, headSize]);
  return reshape(norm(config, tracer, path, each), [tokens, width]);
}

function norm({ epsilon, normOffset }: DecoderConfig, tracer: Tracer, path: string, x: Tensor): Tensor {
  const weight = tracer.weight(`${path}.weight`);
  const gamma = normOffset === 0 ? weight : add(weight, tracer.constant(`ones of ${x.shape[1]}`));
  return rmsNorm(x, gamma, epsilon);
}
