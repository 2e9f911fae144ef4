/** Building the graph of a model with an adapter. */

import type { DType, Graph, Tensor } from "../graph/graph.ts";
import { activate } from "../graph/ops/activation.ts";
import { dropout } from "../graph/ops/dropout.ts";
import { rowMajor } from "../graph/ops/layout.ts";
import type { FusedActivation } from "../graph/ops/product/epilogue.ts";
import { linear, type StoredTensor } from "../graph/ops/product/product.ts";
import { denseWeight, type Model, scalesOf, type Tracer } from "../models/model.ts";
import { type PackedWeight, storedLengths } from "../models/packing.ts";
import { firstRowOf, tableOf } from "../models/stored_weight.ts";
import type { Adapter } from "./attach.ts";
import type { Site } from "./method.ts";
import { fullName } from "./names.ts";
import type { AdaptedModule } from "./targeting.ts";

/** What is needed to build the graph, besides the model and the adapter. */
export interface TraceContext {
  /** Number of tokens of each text: [texts] u32. */
  readonly lengths: Tensor;
  /** Seed and step, [2] u32. If present, adapter dropout is applied (training). */
  readonly clock?: Tensor;
  /** The storage dtype of each base weight on the GPU, by name; f32 row-major if absent. */
  readonly storage?: (name: string) => DType;
  /** Called with each loss term that a method adds to the training loss. */
  readonly addLoss?: (loss: Tensor) => void;
}

/** The adapter's tensors for one layer, as weights of `graph`. */
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

interface BaseOptions {
  readonly bias?: Tensor;
  readonly activation?: FusedActivation;
  readonly residual?: Tensor;
}

/** A `Tracer` that builds the graph of `model` with `adapter` attached. */
export function tracer(graph: Graph, model: Model, adapter: Adapter, context: TraceContext): Tracer {
  const byPath = new Map(adapter.modules.map((adapted) => [adapted.module.path, adapted]));
  const stored = (name: string) => {
    const dtype = context.storage?.(name) ?? "f32";
    return graph.weight(name, denseWeight(model, name).shape, adapter.trainedBase.has(name), dtype);
  };
  const rows = new Map<Tensor, Tensor>();
  const weight = (name: string) => {
    const tensor = stored(name);
    if (tensor.dtype === "f32") return tensor;
    if (!rows.has(tensor)) rows.set(tensor, rowMajor(tensor));
    return rows.get(tensor)!;
  };
  const packedTensor = (name: string, packed: PackedWeight): StoredTensor => {
    const { scales } = storedLengths(packed);
    return {
      values: graph.weight(name, packed.shape, false, packed.packing),
      scales: scales > 0 ? graph.weight(scalesOf(name), [scales], false) : undefined,
    };
  };
  const biasOf = (path: string) => model.weights.has(`${path}.bias`) ? weight(`${path}.bias`) : undefined;
  /** The base layer at `path` without an adapter, dense or packed. */
  const base = (path: string, x: Tensor, options: BaseOptions) => {
    const name = `${path}.weight`;
    const packed = model.packed?.get(name);
    return linear(x, packed ? packedTensor(name, packed) : stored(name), options);
  };
  const siteOf = (adapted: AdaptedModule, x: Tensor, residual?: Tensor): Site => {
    const rate = adapted.options.dropout ?? 0;
    const { path } = adapted.module;
    const bias = biasOf(path);
    return {
      ...adapted,
      x,
      dropped: context.clock && rate > 0 ? dropout(x, context.clock, rate) : x,
      // Read only by methods that compute with W itself, which do not support packed weights.
      get weight() {
        return weight(`${path}.weight`);
      },
      bias,
      residual,
      base: () => base(path, x, { bias, residual }),
      product: () => base(path, x, {}),
      parameters: tracedParameters(graph, adapter, adapted),
      lengths: adapted.module.perText ? undefined : context.lengths,
      addLoss: context.addLoss ?? (() => {}),
    };
  };
  return {
    graph,
    weight,
    table: (name) => {
      const parts = [...model.weights.keys(), ...model.packed?.keys() ?? []]
        .filter((own) => tableOf(own) === name).toSorted((a, b) => firstRowOf(a) - firstRowOf(b));
      if (parts.length === 0) throw new Error(`${model.name} has no table "${name}"`);
      return parts.map((part) => {
        const packed = model.packed?.get(part);
        return { weight: packed ? packedTensor(part, packed) : weight(part), first: firstRowOf(part) };
      });
    },
    constant: (name) => {
      const found = model.constants.get(name);
      if (!found) throw new Error(`${model.name} has no constant "${name}"`);
      return graph.weight(name, found.shape, false);
    },
    linear: (path, x, { activation, residual } = {}) =>
      graph.scope(path, () => {
        const adapted = byPath.get(path);
        if (!adapted) return base(path, x, { bias: biasOf(path), activation, residual });
        const y = adapter.method.forward(siteOf(adapted, x, residual));
        return activation ? activate(activation, y) : y;
      }),
  };
}
