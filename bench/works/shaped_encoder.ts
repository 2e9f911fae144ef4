/**
 * An encoder with RoBERTa-base's layers and random weights: width 768, 12 heads, feed-forward width 3072; or
 * narrower with as many heads.
 */

import { activate } from "../../lib/graph/ops/activation.ts";
import { attention } from "../../lib/graph/ops/attention.ts";
import { embedding } from "../../lib/graph/ops/embedding.ts";
import { layerNorm } from "../../lib/graph/ops/layer_norm.ts";
import type { LinearModule, Model, Tracer, Weight } from "../../lib/models/model.ts";
import { textless } from "../../lib/models/textless.ts";
import { randomInput } from "../work.ts";

const heads = 12;

/** RoBERTa's LayerNorm ε, which is added to the variance. */
export const epsilon = 1e-5;

/** An encoder with the sizes that the peers need. */
export interface ShapedEncoder extends Model {
  readonly layers: number;
  readonly heads: number;
}

function linearsOf(layers: number, width: number): LinearModule[] {
  const inner = 4 * width;
  return Array.from({ length: layers }, (_, i) =>
    [
      ...(["query", "key", "value"] as const).map((role) => ({ target: role, role, m: width, n: width })),
      { target: "output", role: "attention output" as const, m: width, n: width },
      { target: "ffn_in", role: "feed-forward" as const, m: inner, n: width },
      { target: "ffn_out", role: "feed-forward" as const, m: width, n: inner },
    ].map((module) => ({ ...module, path: `layer.${i}.${module.target}` }))).flat();
}

/** A BERT layer: LayerNorm(h + FFN(h)) with h = LayerNorm(x + Attention(x)). */
function layer(tracer: Tracer, i: number, x: ReturnType<typeof layerNorm>, lengths: typeof x) {
  const at = (name: string) => `layer.${i}.${name}`;
  const [q, k, v] = ["query", "key", "value"].map((name) => tracer.linear(at(name), x));
  const attended = attention(q, k, v, lengths, { heads, scale: (q.shape[1] / heads) ** -0.5 });
  const h = norm(tracer, at("attention.norm"), tracer.linear(at("output"), attended, { residual: x }));
  const grown = activate("gelu", tracer.linear(at("ffn_in"), h));
  return norm(tracer, at("ffn.norm"), tracer.linear(at("ffn_out"), grown, { residual: h }));
}

function norm(tracer: Tracer, path: string, x: ReturnType<typeof layerNorm>) {
  return layerNorm(x, tracer.weight(`${path}.weight`), tracer.weight(`${path}.bias`), epsilon);
}

/** `layers` layers on an embedding with `vocabulary` tokens, for texts of up to `length` tokens. */
export function shapedEncoder(
  layers: number,
  vocabulary: number,
  length: number,
  width = 768,
): ShapedEncoder {
  const linears = linearsOf(layers, width);
  const norms = [
    "embedding.norm",
    ...Array.from({ length: layers }, (_, i) => [`layer.${i}.attention.norm`, `layer.${i}.ffn.norm`]).flat(),
  ];
  const ones = (shape: readonly number[]): Weight => ({ shape, data: new Float32Array(shape[0]).fill(1) });
  return {
    name: "RoBERTa-base's shape",
    layers,
    heads,
    width,
    linears,
    weights: new Map<string, Weight>([
      ["embedding.weight", randomInput("embedding", [vocabulary, width])],
      ...linears.flatMap(({ path, m, n }): [string, Weight][] => [
        [`${path}.weight`, randomInput(path, [m, n], n ** -0.5)],
        [`${path}.bias`, randomInput(`${path} bias`, [m], 0.1)],
      ]),
      ...norms.flatMap((path): [string, Weight][] => [
        [`${path}.weight`, ones([width])],
        [`${path}.bias`, randomInput(path, [width], 0.1)],
      ]),
    ]),
    constants: new Map([["positions", randomInput("positions", [length, width], 0.5)]]),
    multiplyAddsPerToken: linears.reduce((sum, { m, n }) => sum + m * n, 0),
    vocabulary,
    maxTokens: length,
    ...textless,
    trace(tracer, { ids, lengths }) {
      let x = embedding(ids, tracer.weight("embedding.weight"), tracer.constant("positions"), 1);
      x = norm(tracer, "embedding.norm", x);
      for (let i = 0; i < layers; i++) {
        x = tracer.graph.scope(`layer.${i}`, () => layer(tracer, i, x, lengths));
      }
      return x;
    },
  };
}
