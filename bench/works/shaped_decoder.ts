/**
 * A small decoder with LLaMA's layers (Touvron et al. 2023) and random weights: RMSNorm before each part
 * (Zhang & Sennrich 2019), rotary positions (Su et al. 2021) with LLaMA 3's θ, causal attention with grouped
 * queries (Ainslie et al. 2023), SwiGLU (Shazeer 2020), no biases. A text's tokens are mean-pooled for the
 * same head as in `shaped_encoder.ts`.
 */

import type { Tensor } from "../../lib/graph/graph.ts";
import { attention } from "../../lib/graph/ops/attention.ts";
import { lookup } from "../../lib/graph/ops/lookup.ts";
import { rmsNorm } from "../../lib/graph/ops/rms_norm.ts";
import { rotary, rotaryFrequencies, rotaryTable } from "../../lib/graph/ops/rotary.ts";
import { gatedUnit } from "../../lib/graph/ops/gated_unit.ts";
import type { LinearModule, Model, Tracer, Weight } from "../../lib/models/model.ts";
import { textless } from "../../lib/models/textless.ts";
import { randomInput } from "../work.ts";

const [heads, kvHeads, headDim, inner] = [12, 4, 64, 2048];
const width = heads * headDim;
const theta = 500_000;
export const rmsEpsilon = 1e-5;

/** A decoder with the sizes that the peers need. */
export interface ShapedDecoder extends Model {
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
}

function linearsOf(layers: number): LinearModule[] {
  return Array.from({ length: layers }, (_, i) =>
    [
      { target: "query", role: "query" as const, m: width, n: width },
      ...(["key", "value"] as const).map((role) => ({ target: role, role, m: kvHeads * headDim, n: width })),
      { target: "output", role: "attention output" as const, m: width, n: width },
      ...["gate", "up"].map((target) => ({ target, role: "feed-forward" as const, m: inner, n: width })),
      { target: "down", role: "feed-forward" as const, m: width, n: inner },
    ].map((module) => ({ ...module, path: `layer.${i}.${module.target}` }))).flat();
}

function norm(tracer: Tracer, path: string, x: Tensor): Tensor {
  return rmsNorm(x, tracer.weight(`${path}.weight`), rmsEpsilon);
}

/** h + FFN(RMSNorm(h)) of h = x + Attention(RMSNorm(x)). */
function layer(tracer: Tracer, i: number, x: Tensor, lengths: Tensor, places: Tensor): Tensor {
  const at = (name: string) => `layer.${i}.${name}`;
  const normal = norm(tracer, at("attention.norm"), x);
  const [q, k, v] = ["query", "key", "value"].map((name) => tracer.linear(at(name), normal));
  const [placedQ, placedK] = [q, k].map((rows) => rotary(rows, tracer.constant("rotary"), places));
  const options = { heads, kvHeads, causal: true, scale: headDim ** -0.5 };
  const attended = attention(placedQ, placedK, v, lengths, options);
  const h = tracer.linear(at("output"), attended, { residual: x });
  const inside = norm(tracer, at("ffn.norm"), h);
  const [gate, up] = ["gate", "up"].map((name) => tracer.linear(at(name), inside));
  return tracer.linear(at("down"), gatedUnit("silu", gate, up), { residual: h });
}

/** `layers` layers on an embedding with `vocabulary` tokens, for texts of up to `length` tokens. */
export function shapedDecoder(layers: number, vocabulary: number, length: number): ShapedDecoder {
  const linears = linearsOf(layers);
  const norms = Array.from(
    { length: layers },
    (_, i) => [`layer.${i}.attention.norm`, `layer.${i}.ffn.norm`],
  );
  return {
    name: "LLaMA's shape",
    layers,
    heads,
    kvHeads,
    width,
    linears,
    weights: new Map<string, Weight>([
      ["embedding.weight", randomInput("embedding", [vocabulary, width])],
      ...linears.map(({ path, m, n }): [string, Weight] => [
        `${path}.weight`,
        randomInput(path, [m, n], n ** -0.5),
      ]),
      ...[...norms.flat(), "norm"].map((path): [string, Weight] => [
        `${path}.weight`,
        { shape: [width], data: new Float32Array(width).fill(1) },
      ]),
    ]),
    constants: new Map([["rotary", rotaryTable(length, rotaryFrequencies(headDim, theta))]]),
    multiplyAddsPerToken: linears.reduce((sum, { m, n }) => sum + m * n, 0),
    vocabulary,
    maxTokens: length,
    ...textless,
    trace(tracer, { ids, lengths, places }) {
      let x = lookup(ids, tracer.weight("embedding.weight"));
      for (let i = 0; i < layers; i++) {
        x = tracer.graph.scope(`layer.${i}`, () => layer(tracer, i, x, lengths, places));
      }
      return norm(tracer, "norm", x);
    },
  };
}
