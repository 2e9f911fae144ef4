/** Attaching a method to the layers of a model, by target-module names or a regular expression. */

import { type Graph, sizeOf, type Tensor } from "../graph/graph.ts";
import { activate } from "../graph/ops/activation.ts";
import { dropout } from "../graph/ops/dropout.ts";
import { linear } from "../graph/ops/matmul.ts";
import type { Encoder, LinearModule, Tracer, Weight } from "../models/model.ts";
import { initialise } from "./initialise.ts";
import type { AdapterOptions, Method, ParameterSpec, Site } from "./method.ts";

/** Where a method goes: PEFT's options of the same names, in camel case. */
export interface Targeting {
  /**
   * Target-module names such as `["query", "value"]` or ends of paths (`"attention.query"`), a regular expression for the
   * path, or `"all-linear"`.
   */
  readonly target: readonly string[] | RegExp | "all-linear";
  /** Only these layers, counted from 0 (PEFT's `layers_to_transform`); default all. */
  readonly layers?: readonly number[];
  /** Ranks of single layers, by the end of their path or a regular expression for it: `{ "layer.0.attention.query": 4 }`. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  /** The same for α. */
  readonly alphaPattern?: Readonly<Record<string, number>>;
  /** Modules of the base that are trained whole and saved with the adapter, by the end of their path: `["pooler"]`. */
  readonly modulesToSave?: readonly string[];
}

/** Options of `attach`: the method's hyper-parameters and where it goes. */
export type AttachOptions<O extends AdapterOptions = AdapterOptions> = Targeting & Partial<O>;

/** One layer with the options that hold there. */
export interface AdaptedModule {
  readonly module: LinearModule;
  readonly options: AdapterOptions;
}

/** A method on the layers of one model. Holds no weights: `startingWeights` makes them, a trainer or a file keeps them. */
export interface Adapter {
  readonly method: Method;
  readonly options: AdapterOptions;
  readonly targeting: Targeting;
  readonly modules: readonly AdaptedModule[];
  /** Every trainable tensor of the adapter, by full name (`layer.0.attention.query.A`). */
  readonly parameters: ReadonlyMap<string, ParameterSpec>;
  /** Constants the method draws, by full name. */
  readonly constants: ReadonlyMap<string, ParameterSpec>;
  /** Names of the base's weights that are trained: all for full fine-tuning, else those of `modulesToSave`. */
  readonly trainedBase: ReadonlySet<string>;
  /** Trainable parameters of the adapter, or of the base when the method trains it (the head not counted). */
  readonly trainableParameters: number;
  /** Multiply-adds a token that the adapters add to the forward pass. */
  readonly multiplyAddsPerToken: number;
}

/**
 * Plans `method` on the layers of `model` that the options select.
 * @throws Error, and attaches nothing, when a name matches no layer, the method has no such option, or an option does
 * not fit a layer.
 */
export function attach<O extends AdapterOptions>(
  model: Encoder,
  method: Method<O>,
  options: AttachOptions<O>,
): Adapter {
  const { target, layers, rankPattern, alphaPattern, modulesToSave, ...own } = options;
  const targeting = { target, layers, rankPattern, alphaPattern, modulesToSave };
  const resolved = resolveOptions(method, own);
  const modules = adaptedModules(model, resolved, targeting);
  const specs = modules.flatMap((adapted) => specsOf(method as Method, adapted, modules));
  const trainedBase = trainedNames(model, method as Method, targeting);
  const parameters = new Map(specs.filter(([, spec]) => !spec.frozen));
  const trained = [
    ...parameters.values(),
    ...[...trainedBase].map((name) => model.weights.get(name)!),
  ];
  return {
    method: method as Method,
    options: resolved,
    targeting,
    modules,
    parameters,
    constants: new Map(specs.filter(([, spec]) => spec.frozen)),
    trainedBase,
    trainableParameters: trained.reduce((sum, { shape }) => sum + sizeOf({ shape, dtype: "f32" }), 0),
    multiplyAddsPerToken: modules.reduce(
      (sum, { module, options }) => sum + (method as Method).cost(module, options).forward,
      0,
    ),
  };
}

/**
 * The options of `method`, with its defaults in the gaps.
 * @throws Error for an option it does not have, or one of another type than its default.
 */
export function resolveOptions<O extends AdapterOptions>(method: Method<O>, options: object): O {
  const names = Object.keys(method.defaults);
  for (const [name, value] of Object.entries(options)) {
    if (!names.includes(name)) {
      throw new Error(`${method.name} has no option "${name}"; it has ${names.join(", ") || "none"}`);
    }
    const kind = typeof method.defaults[name as keyof O];
    if (
      typeof value === "number"
        ? !Number.isFinite(value)
        : typeof value !== kind && !(value === "auto" && method.auto?.includes(name))
    ) {
      throw new Error(
        `${method.name}: ${name} is ${JSON.stringify(value)}; give a ${kind} like the default`,
      );
    }
  }
  const resolved = { ...method.defaults, ...options };
  if (resolved.dropout !== undefined && !(resolved.dropout >= 0 && resolved.dropout < 1)) {
    throw new Error(`${method.name}: dropout ${resolved.dropout} is not in [0, 1)`);
  }
  return resolved;
}

/** The selected layers with the options that hold in each: the ranks and α's of patterns in place of the common ones. */
export function adaptedModules(
  model: Pick<Encoder, "name" | "linears">,
  options: AdapterOptions,
  targeting: Targeting,
): AdaptedModule[] {
  const modules = selectModules(model, targeting);
  const changes = [["r", targeting.rankPattern], ["alpha", targeting.alphaPattern]] as const;
  for (const [name, patterns] of changes) {
    for (const pattern of Object.keys(patterns ?? {})) {
      if (!modules.some(({ path }) => endsWithPattern(path, pattern))) {
        throw new Error(`the pattern "${pattern}" for ${name} matches none of the adapted layers`);
      }
    }
  }
  return modules.map((module) => {
    const found = changes.flatMap(([name, patterns]) => {
      const match = Object.entries(patterns ?? {}).find(([pattern]) => endsWithPattern(module.path, pattern));
      return match ? [[name, match[1]]] : [];
    });
    return { module, options: { ...options, ...Object.fromEntries(found) } };
  });
}

/** PEFT's rule for keys of `rank_pattern`: the pattern, as a regular expression, matches the end of the path. */
function endsWithPattern(path: string, pattern: string): boolean {
  return new RegExp(`^(?:.*\\.)?(?:${pattern})$`).test(path);
}

/**
 * The layers of `model` that `target` and `layers` select.
 * @throws Error when one selects nothing, with the names there are.
 */
export function selectModules(
  model: Pick<Encoder, "name" | "linears">,
  { target, layers }: Targeting,
): LinearModule[] {
  const names = [...new Set(model.linears.map((module) => module.target))].join(", ");
  const isNamed = ({ path, target: own }: LinearModule, name: string) =>
    own === name || `.${path}`.endsWith(`.${name}`);
  const list = target instanceof RegExp || target === "all-linear" ? [] : target;
  for (const name of list) {
    if (!model.linears.some((module) => isNamed(module, name))) {
      throw new Error(`${model.name} has no target module "${name}"; it has ${names}`);
    }
  }
  const targeted = target === "all-linear"
    ? model.linears
    : model.linears.filter((module) =>
      target instanceof RegExp ? module.path.search(target) >= 0 : list.some((name) => isNamed(module, name))
    );
  if (targeted.length === 0) {
    throw new Error(`target ${target} matches no layer of ${model.name}; targets are ${names}`);
  }
  if (layers?.length === 0) throw new Error("layers is empty: name at least one, or leave it out");
  const chosen = targeted.filter(({ path }) => layers?.includes(layerOf(path)) ?? true);
  const missing = layers?.find((layer) => targeted.every(({ path }) => layerOf(path) !== layer));
  if (missing !== undefined) {
    const have = [...new Set(targeted.map(({ path }) => layerOf(path)))].join(", ");
    throw new Error(`${model.name} has no layer ${missing} with these targets; it has ${have}`);
  }
  return chosen;
}

/** The first number in a path: `layer.3.attention.query` → 3; −1 where there is none. */
function layerOf(path: string): number {
  return Number(path.match(/(?:^|\.)(\d+)(?=\.)/)?.[1] ?? -1);
}

/** Names of the base's weights that are trained. */
function trainedNames(model: Encoder, method: Method, { modulesToSave = [] }: Targeting): Set<string> {
  const names = [...model.weights.keys()];
  if (method.trainsBase) return new Set(names);
  const saved = modulesToSave.flatMap((module) => {
    const found = names.filter((name) => {
      const path = moduleOf(name);
      return path === module || path.endsWith(`.${module}`);
    });
    if (found.length === 0) throw new Error(`${model.name} has no module "${module}" to train and save`);
    return found;
  });
  return new Set(saved);
}

/** The adapter's tensors at one layer, by full name. */
function specsOf(
  method: Method,
  { module, options }: AdaptedModule,
  all: readonly AdaptedModule[],
): [string, ParameterSpec][] {
  const specs = method.parameters(module, options, all.map(({ module }) => module));
  return Object.entries(specs).map(([name, spec]) => [fullName(module, name, spec), spec]);
}

/** `layer.0.attention.query.A`, or the name that layers of one shape share. */
export function fullName({ path }: LinearModule, name: string, { shared, shape }: ParameterSpec): string {
  return shared === undefined ? `${path}.${name}` : `${shared}.${shape.join("x")}`;
}

/** The module path of a tensor's full name: `layer.0.attention.query.A` → `layer.0.attention.query`. */
export function moduleOf(name: string): string {
  return name.slice(0, name.lastIndexOf("."));
}

/** The adapter's trainable tensors at their starting values, and the base's trained ones as they are. */
export function startingWeights(model: Encoder, adapter: Adapter, seed: number): Map<string, Weight> {
  const drawn = drawnWeights(model, adapter, adapter.parameters, seed);
  return new Map([
    ...drawn,
    ...[...adapter.trainedBase].map((name): [string, Weight] => [name, model.weights.get(name)!]),
  ]);
}

/** The adapter's constants. They do not depend on a seed, so that a saved adapter need not hold them. */
export function constantWeights(model: Encoder, adapter: Adapter): Map<string, Weight> {
  return drawnWeights(model, adapter, adapter.constants, 0);
}

function drawnWeights(
  model: Encoder,
  { modules }: Adapter,
  specs: ReadonlyMap<string, ParameterSpec>,
  seed: number,
): Map<string, Weight> {
  return new Map([...specs].map(([name, spec]) => {
    const owner = modules.find(({ module }) => module.path === moduleOf(name));
    return [name, initialise(name, spec, seed, owner && model.weights.get(`${owner.module.path}.weight`))];
  }));
}

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
