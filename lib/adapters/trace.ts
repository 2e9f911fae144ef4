/** Tracing a model with an adapter in place. */

import type { Graph, Tensor } from "../graph/graph.ts";
import { activate } from "../graph/ops/activation.ts";
import { dropout } from "../graph/ops/dropout.ts";
import { linear } from "../graph/ops/matmul.ts";
import type { Encoder, Tracer, Weight } from "../models/model.ts";
import type { Adapter } from "./attach.ts";
import type { Site } from "./method.ts";
import { fullName } from "./names.ts";
import type { AdaptedModule } from "./targeting.ts";

/** What a trace of a model with an adapter needs beside the two. */
export interface TraceContext {
  /** Tokens of each text: [texts] u32. */
  readonly lengths: Tensor;
  /** [2] u32, seed and step; turns adapter dropout on. */
  readonly clock?: Tensor;
  /** Receives what a method adds to the training loss. */
  readonly addLoss?: (loss: Tensor) => void;
}

/** The adapter's tensors at one layer, as weights of `graph`. */
export function tracedParameters(
  graph: Graph,
  { method, modules }: Adapter,
  { module, options }: AdaptedModule,
): Record<string, Tensor> {
  const specs = method.parameters(module, options, modules.map(({ module }) => module));
  return Object.fromEntries(
    Object.entries(specs).map(([name, spec]) => [
      name,
      graph.weight(fullName(module, name, spec), spec.shape, !spec.frozen),
    ]),
  );
}

/** Traces models with `adapter` in place. */
export function tracer(graph: Graph, model: Encoder, adapter: Adapter, context: TraceContext): Tracer {
  const byPath = new Map(adapter.modules.map((adapted) => [adapted.module.path, adapted]));
  const shapeOf = (weights: ReadonlyMap<string, Weight>, name: string) => {
    const found = weights.get(name);
    if (!found) throw new Error(`${model.name} has no weight "${name}"`);
    return found.shape;
  };
  const weight = (name: string) =>
    graph.weight(name, shapeOf(model.weights, name), adapter.trainedBase.has(name));
  const biasOf = (path: string) => model.weights.has(`${path}.bias`) ? weight(`${path}.bias`) : undefined;
  const siteOf = (adapted: AdaptedModule, x: Tensor, residual?: Tensor): Site => {
    const rate = adapted.options.dropout ?? 0;
    const W = weight(`${adapted.module.path}.weight`);
    const bias = biasOf(adapted.module.path);
    return {
      ...adapted,
      x,
      dropped: context.clock && rate > 0 ? dropout(x, context.clock, rate) : x,
      weight: W,
      bias,
      residual,
      base: () => linear(x, W, { bias, residual }),
      parameters: tracedParameters(graph, adapter, adapted),
      lengths: context.lengths,
      addLoss: context.addLoss ?? (() => {}),
    };
  };
  return {
    graph,
    weight,
    constant: (name) => graph.weight(name, shapeOf(model.constants, name), false),
    linear: (path, x, { activation, residual } = {}) =>
      graph.scope(path, () => {
        const adapted = byPath.get(path);
        if (!adapted) {
          return linear(x, weight(`${path}.weight`), { bias: biasOf(path), activation, residual });
        }
        const y = adapter.method.forward(siteOf(adapted, x, residual));
        return activation ? activate(activation, y) : y;
      }),
  };
}
