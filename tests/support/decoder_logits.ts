/** Logits of a decoder, with an adapter or without, at every place of some rows, in one padded batch. */

import { attach } from "../../lib/adapters/attach.ts";
import type { SavedAdapter } from "../../lib/adapters/peft.ts";
import { constantWeights } from "../../lib/adapters/starting_weights.ts";
import { headOnly } from "../../lib/adapters/base_only.ts";
import { tracer } from "../../lib/adapters/trace.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import { compile } from "../../lib/graph/compile.ts";
import { Graph } from "../../lib/graph/graph.ts";
import { matmul } from "../../lib/graph/ops/product/product.ts";
import type { Decoder } from "../../lib/models/model.ts";
import { FrozenWeights } from "../../lib/run/frozen_weights.ts";
import { tokenInputs } from "../../lib/run/step.ts";

/** Of each row, [its length, vocabulary]; all are padded to `length`. */
export async function logitsOf(
  gpu: Gpu,
  model: Decoder,
  rows: readonly (readonly number[])[],
  length = Math.max(...rows.map((row) => row.length)),
  { adapter, weights }: SavedAdapter = {
    adapter: attach(model, headOnly, { target: "all-linear" }),
    weights: new Map(),
  },
): Promise<Float32Array[]> {
  const graph = new Graph();
  const tokens = tokenInputs(graph, rows.length, length);
  const own = tracer(graph, model, adapter, tokens);
  const hidden = model.trace(own, tokens);
  const pieces = own.table(model.language.output).map(({ weight }) =>
    matmul(hidden, weight, { transposeB: true })
  );
  using frozen = FrozenWeights.of(gpu, model);
  using ofAdapter = new FrozenWeights(gpu, new Map([...constantWeights(model, adapter), ...weights]));
  using compiled = await compile(gpu, pieces, {
    label: "logits",
    weights: (name) => ofAdapter.view(name) ?? frozen.view(name)!,
  });
  const padded = rows.flatMap((row) => Array.from({ length }, (_, t) => row[t] ?? 0));
  compiled.upload({
    ids: Uint32Array.from(padded),
    lengths: Uint32Array.from(rows, (row) => row.length),
    places: Uint32Array.from(padded, (_, t) => t % length),
    types: new Uint32Array(padded.length),
  });
  compiled.run();
  const values = await Promise.all(pieces.map((piece) => compiled.read(piece)));
  return rows.map((row, i) => {
    const of = Array.from({ length: row.length }, (_, t) =>
      pieces.flatMap(({ shape: [, tokens] }, piece) => {
        const at = (i * length + t) * tokens;
        return [...values[piece].subarray(at, at + tokens)];
      }));
    return Float32Array.from(of.flat());
  });
}
