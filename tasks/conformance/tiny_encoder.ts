/** A one-layer encoder small enough for the float64 interpreter and for finite differences. */

import { attention } from "../../lib/graph/ops/attention.ts";
import { embedding } from "../../lib/graph/ops/embedding.ts";
import { layerNorm } from "../../lib/graph/ops/layer_norm.ts";
import { streamOf, uniform } from "../../lib/graph/random.ts";
import {
  type LinearModule,
  type Model,
  plainHead,
  type Tokenizer,
  type Weight,
} from "../../lib/models/model.ts";
import { comparedPairs } from "../../lib/models/pairing.ts";

const [vocabulary, width, ffn, heads, positions] = [11, 16, 24, 2, 16];

const linears: readonly LinearModule[] = [
  { path: "query", target: "query", role: "query", m: width, n: width },
  { path: "key", target: "key", role: "key", m: width, n: width },
  { path: "value", target: "value", role: "value", m: width, n: width },
  { path: "ffn.in", target: "ffn_in", role: "feed-forward", m: ffn, n: width },
  { path: "ffn.out", target: "ffn_out", role: "feed-forward", m: width, n: ffn },
];

function weight(name: string, shape: number[], bound: number, shift = 0): [string, Weight] {
  const size = shape.reduce((product, extent) => product * extent, 1);
  return [name, { shape, data: uniform(1, streamOf(name), size, bound).map((value) => value + shift) }];
}

/** A token a letter. */
const tokenizer: Tokenizer = {
  encode: (text, maxTokens) =>
    [...text].map((letter) => letter.charCodeAt(0) % vocabulary).slice(0, maxTokens),
};

/** Creates the encoder, with weights that depend only on their names. */
export function tinyEncoder(): Model {
  return {
    name: "tiny",
    weights: new Map([
      weight("embedding.weight", [vocabulary, width], 1),
      weight("norm.weight", [width], 0.2, 1),
      weight("norm.bias", [width], 0.2),
      ...linears.flatMap(({ path, m, n }) => [
        weight(`${path}.weight`, [m, n], n ** -0.5),
        weight(`${path}.bias`, [m], 0.1),
      ]),
    ]),
    constants: new Map([weight("positions", [positions, width], 0.5)]),
    linears,
    width,
    multiplyAddsPerToken: linears.reduce((sum, { m, n }) => sum + m * n, 0),
    vocabulary,
    maxTokens: positions,
    pooling: "mean",
    head: plainHead,
    tokenizer,
    pairing: comparedPairs(tokenizer),
    trace(tracer, { ids, lengths }) {
      const x = embedding(ids, tracer.weight("embedding.weight"), tracer.constant("positions"), 1.5);
      const normed = layerNorm(x, tracer.weight("norm.weight"), tracer.weight("norm.bias"), 1e-3);
      const [q, k, v] = ["query", "key", "value"].map((path) => tracer.linear(path, normed));
      const attended = attention(q, k, v, lengths, { heads, scale: (width / heads) ** -0.5 });
      const inner = tracer.linear("ffn.in", attended, { activation: "relu" });
      return tracer.linear("ffn.out", inner, { residual: x });
    },
  };
}
