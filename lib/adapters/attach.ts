/** Attaching a method to the layers of a model, by target-module names or a regular expression. */

import type { Graph, Tensor } from "../graph/graph.ts";
import { activate } from "../graph/ops/activation.ts";
import { dropout } from "../graph/ops/dropout.ts";
import { linear } from "../graph/ops/matmul.ts";
import { streamOf, uniform } from "../graph/random.ts";
import type { Encoder, LinearModule, Tracer, Weight } from "../models/model.ts";
import type { AdapterOptions, Method, ParameterSpec } from "./method.ts";

/** Options of `attach`: the method's hyper-parameters and where it goes. */
export interface AttachOptions extends Partial<AdapterOptions> {
  /** Target-module names such as `["query", "value"]`, or a regular expression for the whole path. */
  readonly target: readonly string[] | RegExp;
}

/** PEFT's defaults, and the paper's b. */
const defaults: AdapterOptions = { r: 8, alpha: 16, dropout: 0, blocks: 16 };

/** A method on the layers of one model. Holds no weights: `initialise` makes them, a trainer or a checkpoint keeps them. */
export interface Adapter {
  readonly method: Method;
  readonly options: AdapterOptions;
  readonly modules: readonly LinearModule[];
  /** Every trainable tensor of the adapter, by full name (`layer.0.attention.query.A`). */
  readonly parameters: ReadonlyMap<string, ParameterSpec>;
  /** Trainable parameters of the adapter, or of the base when the method trains it (the head not counted). */
  readonly trainableParameters: number;
  /** Multiply-adds a token that the adapters add to the forward pass. */
  readonly multiplyAddsPerToken: number;
}

/**
 * Plans `method` on the layers of `model` that `target` selects.
 * @throws Error, and attaches nothing, when a name matches no layer or the options do not fit a layer.
 */
export function attach(model: Encoder, method: Method, { target, ...options }: AttachOptions): Adapter {
  const all = resolveOptions(options);
  const modules = selectModules(model, target);
  const parameters = new Map<string, ParameterSpec>();
  for (const module of modules) {
    for (const [name, spec] of Object.entries(method.parameters(module, all))) {
      parameters.set(`${module.path}.${name}`, spec);
    }
  }
  const size = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent, 1);
  const trained = method.trainsBase ? [...model.weights.values()] : [...parameters.values()];
  return {
    method,
    options: all,
    modules,
    parameters,
    trainableParameters: trained.reduce((sum, { shape }) => sum + size(shape), 0),
    multiplyAddsPerToken: modules.reduce((sum, module) => sum + method.multiplyAdds(module, all), 0),
  };
}

/** `options` with the defaults in the gaps. */
export function resolveOptions(options: Partial<AdapterOptions>): AdapterOptions {
  return { ...defaults, ...options };
}

/**
 * The layers of `model` that `target` selects: target-module names, or a regular expression for paths.
 * @throws Error when one selects nothing, with the names there are.
 */
export function selectModules(
  model: Pick<Encoder, "name" | "linears">,
  target: readonly string[] | RegExp,
): LinearModule[] {
  const names = [...new Set(model.linears.map((module) => module.target))].join(", ");
  if (target instanceof RegExp) {
    const found = model.linears.filter((module) => target.test(module.path));
    if (found.length === 0) {
      throw new Error(`${target} matches no layer of ${model.name}; targets are ${names}`);
    }
    return found;
  }
  for (const name of target) {
    if (!model.linears.some((module) => module.target === name)) {
      throw new Error(`${model.name} has no target module "${name}"; it has ${names}`);
    }
  }
  return model.linears.filter((module) => target.includes(module.target));
}

/** Starting values of a trainable tensor; they depend on its name and the seed, not on the order of layers. */
export function initialise(name: string, { shape, init }: ParameterSpec, seed: number): Weight {
  const size = shape.reduce((product, extent) => product * extent, 1);
  const data = init.kind === "zeros"
    ? new Float32Array(size)
    : uniform(seed, streamOf(name), size, 1 / Math.sqrt(init.fan));
  return { shape, data };
}

/** Traces models with `adapter` in place; `clock` ([2] u32, seed and step) turns adapter dropout on. */
export function tracer(graph: Graph, model: Encoder, adapter: Adapter, clock?: Tensor): Tracer {
  const byPath = new Map(adapter.modules.map((module) => [module.path, module]));
  const shapeOf = (weights: ReadonlyMap<string, Weight>, name: string) => {
    const found = weights.get(name);
    if (!found) throw new Error(`${model.name} has no weight "${name}"`);
    return found.shape;
  };
  const weight = (name: string) =>
    graph.weight(name, shapeOf(model.weights, name), adapter.method.trainsBase);
  const parametersOf = (module: LinearModule) =>
    Object.fromEntries(
      Object.entries(adapter.method.parameters(module, adapter.options)).map((
        [name, { shape }],
      ) => [name, graph.weight(`${module.path}.${name}`, shape, true)]),
    );
  return {
    graph,
    weight,
    constant: (name) => graph.weight(name, shapeOf(model.constants, name), false),
    linear: (path, x, { activation, residual } = {}) =>
      graph.scope(path, () => {
        const [W, bias] = [weight(`${path}.weight`), weight(`${path}.bias`)];
        const module = byPath.get(path);
        if (!module) return linear(x, W, { bias, activation, residual });
        const { options } = adapter;
        const y = adapter.method.forward({
          module,
          options,
          x,
          dropped: clock && options.dropout > 0 ? dropout(x, clock, options.dropout) : x,
          weight: W,
          parameters: parametersOf(module),
          base: () => linear(x, W, { bias, residual }),
        });
        return activation ? activate(activation, y) : y;
      }),
  };
}
