/** Attaching a fine-tuning method to the layers of a model. */

import { sizeOf } from "../graph/graph.ts";
import type { Model } from "../models/model.ts";
import type { ParameterSpec } from "../models/parameter.ts";
import { checkPacked } from "./check_adapter.ts";
import type { AdapterOptions, Method } from "./method.ts";
import { fullName } from "./names.ts";
import { resolveOptions } from "./options.ts";
import {
  type AdaptedModule,
  adaptedModules,
  checkForms,
  type Targeting,
  trainedNames,
  withFresh,
} from "./targeting.ts";

/**
 * Options of `attach`: the method's hyperparameters (missing ones take the method's defaults) and the
 * targeting options that select the layers.
 */
export type AttachOptions<O extends AdapterOptions = AdapterOptions> = Targeting & Partial<O>;

/**
 * A method attached to the layers of one model. It describes the tensors and holds no values: a `Trainer`
 * draws the starting values and trains them, `saveAdapter` and `loadAdapter` write and read them.
 */
export interface Adapter {
  /** The attached method. */
  readonly method: Method;
  /** The method's hyperparameters, with defaults filled in. */
  readonly options: AdapterOptions;
  /** The targeting options given to `attach`. */
  readonly targeting: Targeting;
  /** The adapted layers. */
  readonly modules: readonly AdaptedModule[];
  /** Every trainable tensor of the adapter, by full name (`layer.0.attention.query.A`). */
  readonly parameters: ReadonlyMap<string, ParameterSpec>;
  /** The adapter's frozen tensors, such as random projections, by full name. */
  readonly constants: ReadonlyMap<string, ParameterSpec>;
  /**
   * Names of the base weights that are trained: all of them for full fine-tuning, otherwise those selected by
   * `modulesToSave`.
   */
  readonly trainedBase: ReadonlySet<string>;
  /**
   * Number of trainable parameters: the adapter's and those of the trained base weights. The head is not
   * counted.
   */
  readonly trainableParameters: number;
  /** Multiply-adds per token that the adapter adds to the forward pass. */
  readonly multiplyAddsPerToken: number;
}

/**
 * Attaches `method` to the layers of `model` that the options select. This allocates nothing on the GPU.
 * @throws Error when a name in `target` or a pattern matches no layer, the method has no such option, an
 * option does not fit a layer, or the method changes the base weights of a packed model or computes with them.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { attach, loadUseLite, lora } from "@bora/webgpu";
 *
 * const model = await loadUseLite();
 * const adapter = attach(model, lora, { r: 8, target: ["query", "value"] });
 * assert.deepEqual(adapter.modules.map(({ module }) => module.path), [
 *   "layer.0.attention.query",
 *   "layer.0.attention.value",
 *   "layer.1.attention.query",
 *   "layer.1.attention.value",
 * ]);
 * assert.equal(adapter.trainableParameters, 8 * (4 * 256 + 4 * 512));
 * ```
 */
export function attach<O extends AdapterOptions>(
  model: Model,
  method: Method<O>,
  options: AttachOptions<O>,
): Adapter {
  checkForms(options);
  const { target, layers, rankPattern, alphaPattern, modulesToSave: saved, ...own } = options;
  const modulesToSave = withFresh(model, saved);
  const targeting = { target, layers, rankPattern, alphaPattern, modulesToSave };
  const resolved = resolveOptions(method, own);
  const modules = adaptedModules(model, method as Method, resolved, targeting);
  checkPacked(model, method as Method, modules);
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
    multiplyAddsPerToken: modules.filter(({ module }) => !module.perText).reduce(
      (sum, { module, options }) => sum + (method as Method).cost(module, options).forward,
      0,
    ),
  };
}

/** The adapter's tensors for one layer, by full name. */
function specsOf(
  method: Method,
  { module, options }: AdaptedModule,
  all: readonly AdaptedModule[],
): [string, ParameterSpec][] {
  const specs = method.parameters(module, options, all.map(({ module }) => module));
  return Object.entries(specs).map(([name, spec]) => [fullName(module, name, spec), spec]);
}
