/** Checks that trained weights are an adapter's. */

import type { Model, Weight } from "../models/model.ts";
import type { Adapter } from "./attach.ts";
import { checkHead, headNames } from "./head_tensors.ts";

/**
 * True when the weights include a head. Throws an Error unless they are exactly the adapter's tensors, in the
 * right shapes and finite, with a complete head or none.
 */
export function checkWeights(model: Model, adapter: Adapter, weights: ReadonlyMap<string, Weight>): boolean {
  const hasHead = checkShapes(model, adapter, weights);
  for (const [name, { data }] of weights) {
    if (data.every(Number.isFinite)) continue;
    throw new Error(`"${name}" holds values that are not finite: train with a lower learning rate`);
  }
  return hasHead;
}

/** As `checkWeights`, without a look at the values, which takes seconds where they are many. */
export function checkShapes(model: Model, adapter: Adapter, weights: ReadonlyMap<string, Weight>): boolean {
  const shapes = ownShapes(model, adapter);
  const missing = [...shapes.keys()].filter((name) => !weights.has(name));
  if (missing.length > 0) throw new Error(`no values for ${missing.join(", ")}: pass every trained tensor`);
  const ofHead = new Map(
    [...weights].flatMap(([name, { shape }]) =>
      headNames(model).includes(name) ? [[name, shape] as const] : []
    ),
  );
  for (const [name, { shape }] of weights) {
    if (ofHead.has(name)) continue;
    const wanted = shapes.get(name);
    if (!wanted) {
      throw new Error(`"${name}" is no tensor of this ${adapter.method.name} or of the head: leave it out`);
    }
    if (wanted.join() !== shape.join()) {
      throw new Error(`"${name}" is [${shape}], and the adapter's is [${wanted}]`);
    }
  }
  if (ofHead.size > 0) checkHead(model, ofHead, "the weights");
  return ofHead.size > 0;
}

/**
 * Shapes of all tensors that are saved: the adapter's, trained base weights, and base weights that a
 * restarting method has changed.
 */
export function ownShapes(model: Model, adapter: Adapter): Map<string, readonly number[]> {
  const grown = adapter.method.restarts ? adapter.modules : [];
  return new Map([
    ...[...adapter.parameters].map(([name, { shape }]) => [name, shape] as const),
    ...[...adapter.trainedBase].map((name) => [name, model.weights.get(name)!.shape] as const),
    ...grown.map(({ module: { path, m, n } }) => [`${path}.weight`, [m, n]] as const),
  ]);
}
