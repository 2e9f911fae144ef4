/** Vectors of token rows by an encoder with an adapter, in one padded batch. */

import type { SavedAdapter } from "../../lib/adapters/peft.ts";
import { constantWeights } from "../../lib/adapters/starting_weights.ts";
import { tracer } from "../../lib/adapters/trace.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import { compile } from "../../lib/graph/compile.ts";
import { Graph } from "../../lib/graph/graph.ts";
import type { Model } from "../../lib/models/model.ts";
import { vectorsOf } from "../../lib/models/pooling.ts";
import { FrozenWeights } from "../../lib/run/frozen_weights.ts";
import { tokenInputs } from "../../lib/run/step.ts";

/** Of each row, [width]. */
export async function vectorsOfRows(
  gpu: Gpu,
  model: Model,
  { adapter, weights }: SavedAdapter,
  rows: readonly (readonly number[])[],
): Promise<Float32Array[]> {
  const length = Math.max(...rows.map((row) => row.length));
  const graph = new Graph();
  const tokens = tokenInputs(graph, rows.length, length);
  const own = tracer(graph, model, adapter, tokens);
  const vectors = vectorsOf(model, own, model.trace(own, tokens), tokens);
  using frozen = FrozenWeights.of(gpu, model);
  using ofAdapter = new FrozenWeights(gpu, new Map([...constantWeights(model, adapter), ...weights]));
  using compiled = await compile(gpu, [vectors], {
    label: "vectors",
    weights: (name) => ofAdapter.view(name) ?? frozen.view(name)!,
  });
  const padded = (values: readonly number[]) => Array.from({ length }, (_, t) => values[t] ?? 0);
  compiled.upload({
    ids: Uint32Array.from(rows.flatMap(padded)),
    lengths: Uint32Array.from(rows, (row) => row.length),
    places: Uint32Array.from(rows.flatMap((row) => padded(model.placesOf!(row)))),
    types: new Uint32Array(rows.length * length),
  });
  compiled.run();
  const values = await compiled.read(vectors);
  return rows.map((_, i) => values.subarray(i * model.width, (i + 1) * model.width));
}
