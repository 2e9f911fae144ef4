/** An adapter's learned updates ΔW, computed in float64 on the CPU. */

import type { Adapter } from "../adapters/attach.ts";
import { identityValues } from "../adapters/identity.ts";
import { tracedMerge } from "../adapters/merge.ts";
import { Graph } from "../graph/graph.ts";
import { interpret } from "../graph/interpret.ts";
import { denseWeight, type Model, type Weight } from "../models/model.ts";

/** ΔW of one layer, row-major. */
export interface Update {
  /** m·n values. */
  readonly values: Float64Array;
  /** Outputs of the layer. */
  readonly m: number;
  /** Inputs of the layer. */
  readonly n: number;
}

/**
 * ΔW = merged − W of every adapted layer, by path. `weights` are the adapter's trained tensors and constants.
 * If they include a base weight (full fine-tuning, ReLoRA), W is still the model's original weight.
 * @throws Error when the update depends on the input.
 */
export function interpretedUpdates(
  model: Model,
  adapter: Adapter,
  weights: ReadonlyMap<string, Weight>,
): Map<string, Update> {
  return new Map(adapter.modules.map((adapted) => {
    const { path, m, n } = adapted.module;
    const graph = new Graph();
    const merged = tracedMerge(graph, adapter, adapted, graph.input("identity", [n, n]));
    const sources = new Map([["identity", Float64Array.from(identityValues(n))]]);
    for (const { source, name } of graph.nodes) {
      if (!source || sources.has(name)) continue;
      const own = weights.get(name) ?? model.weights.get(name);
      if (own) sources.set(name, Float64Array.from(own.data));
    }
    const base = denseWeight(model, `${path}.weight`).data;
    const values = interpret([merged], sources)[0].map((value, i) => value - base[i]);
    return [path, { values, m, n }];
  }));
}
