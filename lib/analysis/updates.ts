/** What an adapter has learnt: the updates ΔW themselves, in float64 on the CPU. */

import type { Adapter } from "../adapters/attach.ts";
import { tracedMerge } from "../adapters/merge.ts";
import { Graph } from "../graph/graph.ts";
import { interpret } from "../graph/interpret.ts";
import { denseWeight, type Encoder, type Weight } from "../models/model.ts";

/** ΔW of one layer, row-major. */
export interface Update {
  /** m·n of them. */
  readonly values: Float64Array;
  /** Outputs. */
  readonly m: number;
  /** Inputs. */
  readonly n: number;
}

/**
 * ΔW = merged − W of every adapted layer, by path. `weights`: the adapter's trained tensors and constants; where they hold a
 * base weight of their own (full fine-tuning, ReLoRA), the update is counted from the model's.
 * @throws Error when the update depends on the input.
 */
export function interpretedUpdates(
  model: Encoder,
  adapter: Adapter,
  weights: ReadonlyMap<string, Weight>,
): Map<string, Update> {
  return new Map(adapter.modules.map((adapted) => {
    const { path, m, n } = adapted.module;
    const graph = new Graph();
    const merged = tracedMerge(graph, adapter, adapted, graph.input("identity", [n, n]));
    const sources = new Map([[
      "identity",
      Float64Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) === 0)),
    ]]);
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
