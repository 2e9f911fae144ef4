/**
 * One layer with LLaMA-3-8B's shapes, without values: RMSNorm before each part (Zhang & Sennrich 2019), rotary
 * positions (Su et al. 2021), causal attention with grouped queries (Ainslie et al. 2023), SwiGLU (Shazeer
 * 2020), no biases. Its tokens are mean-pooled for the head that every encoder here has.
 */

import type { Tensor } from "../../lib/graph/graph.ts";
import { attention } from "../../lib/graph/ops/attention.ts";
import { lookup } from "../../lib/graph/ops/lookup.ts";
import { rmsNorm } from "../../lib/graph/ops/rms_norm.ts";
import { rotary, rotaryTable } from "../../lib/graph/ops/rotary.ts";
import { gatedUnit } from "../../lib/graph/ops/gated_unit.ts";
import type { LinearModule, Model, Tracer, Weight } from "../../lib/models/model.ts";
import { publishedDecoder } from "../../lib/models/published_configs.ts";
import { textless } from "../../lib/models/textless.ts";

const { width, inner, heads, kvHeads, headSize, epsilon, frequencies } = publishedDecoder(
  "meta-llama/Meta-Llama-3-8B",
)!;

/** Enough for a table of tokens to be there: its size changes no kernel. */
const vocabulary = 128;

const linears: readonly LinearModule[] = ([
  { target: "query", role: "query", m: width, n: width },
  { target: "key", role: "key", m: kvHeads * headSize, n: width },
  { target: "value", role: "value", m: kvHeads * headSize, n: width },
  { target: "output", role: "attention output", m: width, n: width },
  { target: "gate", role: "feed-forward", m: inner, n: width },
  { target: "up", role: "feed-forward", m: inner, n: width },
  { target: "down", role: "feed-forward", m: width, n: inner },
] as const).map((module) => ({ ...module, path: `layer.0.${module.target}` }));

/** A weight of which only the shape is asked for. */
function unread(shape: readonly number[]): Weight {
  return {
    shape,
    get data(): never {
      throw new Error("this layer has shapes only, and values were asked for");
    },
  };
}

/** The layer as a model, for texts of up to `length` tokens. */
export function llamaLayer(length: number): Model {
  const norms = ["layer.0.attention.norm", "layer.0.ffn.norm", "norm"];
  return {
    name: "LLaMA-3-8B",
    width,
    linears,
    weights: new Map<string, Weight>([
      ["embedding.weight", unread([vocabulary, width])],
      ...linears.map(({ path, m, n }): [string, Weight] => [`${path}.weight`, unread([m, n])]),
      ...norms.map((path): [string, Weight] => [`${path}.weight`, unread([width])]),
    ]),
    constants: new Map([["rotary", rotaryTable(length, frequencies)]]),
    multiplyAddsPerToken: linears.reduce((sum, { m, n }) => sum + m * n, 0),
    vocabulary,
    maxTokens: length,
    ...textless,
    trace(tracer, { ids, lengths, places }) {
      const x = lookup(ids, tracer.weight("embedding.weight"));
      const y = tracer.graph.scope("layer.0", () => layer(tracer, x, lengths, places));
      return norm(tracer, "norm", y);
    },
  };
}

function norm(tracer: Tracer, path: string, x: Tensor): Tensor {
  return rmsNorm(x, tracer.weight(`${path}.weight`), epsilon);
}

/** h + FFN(RMSNorm(h)) of h = x + Attention(RMSNorm(x)). */
function layer(tracer: Tracer, x: Tensor, lengths: Tensor, places: Tensor): Tensor {
  const linear = (name: string, of: Tensor, residual?: Tensor) =>
    tracer.linear(`layer.0.${name}`, of, { residual });
  const normed = norm(tracer, "layer.0.attention.norm", x);
  const [q, k, v] = ["query", "key", "value"].map((name) => linear(name, normed));
  const placed = [q, k].map((rows) => rotary(rows, tracer.constant("rotary"), places));
  const options = { heads, kvHeads, causal: true, scale: headSize ** -0.5 };
  const h = linear("output", attention(placed[0], placed[1], v, lengths, options), x);
  const inside = norm(tracer, "layer.0.ffn.norm", h);
  return linear("down", gatedUnit("silu", linear("gate", inside), linear("up", inside)), h);
}
