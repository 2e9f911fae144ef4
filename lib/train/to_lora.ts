/**
 * Makes a plain LoRA of any adapter whose update is a fixed matrix, so that what knows LoRA alone can use it. BoRA, MELoRA,
 * GraLoRA and VeRA are LoRAs, exactly; of the others the nearest one is taken.
 */

import { type Adapter, attach } from "../adapters/attach.ts";
import { checkAdapter } from "../adapters/check_adapter.ts";
import { checkWeights } from "../adapters/check_weights.ts";
import { identityInput, tracedFactors, tracedUpdate } from "../adapters/factors.ts";
import { headNames } from "../adapters/head_tensors.ts";
import { identityValues } from "../adapters/identity.ts";
import { lora } from "../adapters/lora.ts";
import { checkRank, type Halves } from "../adapters/method.ts";
import type { SavedAdapter } from "../adapters/peft.ts";
import { patternFor } from "../adapters/peft_targeting.ts";
import { constantWeights } from "../adapters/starting_weights.ts";
import type { AdaptedModule } from "../adapters/targeting.ts";
import { nearestFactors } from "../analysis/low_rank.ts";
import type { Gpu } from "../gpu/device.ts";
import { compile } from "../graph/compile.ts";
import { Graph, type Tensor } from "../graph/graph.ts";
import { denseWeight, type Model, type Weight } from "../models/model.ts";
import { FrozenWeights } from "../run/frozen_weights.ts";
import { mergedLayer } from "./merge_weight.ts";

/** What `toLora` makes a LoRA of. */
export interface ToLoraOptions extends SavedAdapter {
  /** Computes the factors. */
  readonly gpu: Gpu;
  /** The model that the adapter is for. */
  readonly model: Model;
  /**
   * Takes the nearest LoRA of this rank, by singular values, also of updates that are LoRAs of a higher rank. Without it, only
   * methods whose update factors exactly are accepted.
   */
  readonly rank?: number;
  /** Called with the number of layers done, of all. */
  readonly onLayer?: (done: number, of: number) => void;
}

/** Distances of a LoRA from the update that it stands for: ‖ΔW − B A‖_F / ‖ΔW‖_F. */
export interface LoraErrors {
  /** Over all layers and all of `leftOut` together. */
  readonly whole: number;
  /** By the layer's path; 0 where ΔW is 0. */
  readonly layers: ReadonlyMap<string, number>;
  /** Base weights that full fine-tuning has changed and that no LoRA on its layers can hold. */
  readonly leftOut: readonly string[];
}

/** A LoRA with what came along: trained modules of the base, and the head. */
export interface LoraExport extends SavedAdapter {
  /** r = α, so that α/r is 1. Layers that are too narrow for it, if any, keep a lower r = α of their own. */
  readonly rank: number;
  /** How far it is from the adapter; absent if it is the same. */
  readonly errors?: LoraErrors;
}

/** ΔW ≈ B A of one layer. */
interface LayerFactors {
  readonly rank: number;
  readonly A: Float32Array<ArrayBuffer>;
  readonly B: Float32Array<ArrayBuffer>;
  readonly squaredError: number;
  readonly sumOfSquares: number;
}

/**
 * The LoRA that computes what `adapter` with its trained `weights` computes: ΔW = B A in every adapted layer, with the scale in
 * B, so that r = α. All layers get the same rank, the largest that one of them needs, by rows and columns of zeros. Save it with
 * `saveAdapter`.
 *
 * @throws Error when the update depends on the input, there is none, it does not factor exactly and no rank is given, or the rank
 * does not fit a layer; for a packed base when the method computes with the base's values; when the adapter was attached to another
 * model, when a weight is missing, of another shape, not finite or of another adapter, and when the LoRA's are not finite.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { attach, bora, loadUseLite, lora, openGpu, toLora } from "@bora/webgpu";
 * import { startingWeights } from "@bora/webgpu/models";
 *
 * using gpu = await openGpu();
 * const model = await loadUseLite();
 * const adapter = attach(model, bora, { r: 2, blocks: 4, target: ["query"] });
 * const exported = await toLora({ gpu, model, adapter, weights: startingWeights(model, adapter, 0) });
 * assert.equal(exported.adapter.method, lora);
 * assert.equal(exported.rank, 8);
 * ```
 */
export async function toLora(options: ToLoraOptions): Promise<LoraExport> {
  const { gpu, model, adapter, weights, labels, rank: asked, onLayer } = options;
  checkExportable(adapter, asked);
  checkAdapter(model, adapter);
  checkWeights(model, adapter, weights);
  using frozen = new FrozenWeights(gpu, new Map([...constantWeights(model, adapter), ...weights]));
  const factors: LayerFactors[] = [];
  for (const adapted of adapter.modules) {
    factors.push(
      asked === undefined
        ? await exactFactors(gpu, adapter, adapted, frozen)
        : await nearest(gpu, model, adapter, adapted, frozen, asked),
    );
    onLayer?.(factors.length, adapter.modules.length);
  }
  const rank = asked ?? Math.max(...factors.map(({ rank }) => rank));
  const result = attachedLora(model, adapter, rank, factors);
  const errors = asked === undefined ? undefined : errorsOf(model, adapter, weights, factors);
  const own = new Map([...loraWeights(result, factors), ...kept(model, adapter, weights)]);
  checkWeights(model, result, own);
  return {
    adapter: result,
    weights: own,
    rank,
    ...labels ? { labels } : {},
    ...errors ? { errors } : {},
  };
}

/** Throws an Error unless `toLora` takes such an adapter with this rank. */
function checkExportable({ method, modules, parameters }: Adapter, rank?: number): void {
  const { name, mergeable, halves, trainsBase } = method;
  if (!mergeable) {
    throw new Error(
      `${name} cannot be exported as a LoRA: its update depends on the input. Use it with this library`,
    );
  }
  if (parameters.size === 0 && !trainsBase) {
    throw new Error(`${name} changes no layer: there is no update to export`);
  }
  if (!halves && rank === undefined) {
    throw new Error(
      `${name}'s update is no LoRA: give a rank, such as 16, and the nearest LoRA of that rank is taken`,
    );
  }
  if (rank === undefined) return;
  for (const { module } of modules) checkRank(module, rank);
}

async function exactFactors(
  gpu: Gpu,
  adapter: Adapter,
  adapted: AdaptedModule,
  own: FrozenWeights,
): Promise<LayerFactors> {
  const graph = new Graph();
  const { A, B, rank } = tracedFactors(graph, adapter.method.halves!, adapter, adapted);
  const { m, n } = adapted.module;
  const found = await computed(gpu, [A, B], A && B ? [n, rank] : [n], adapted, own);
  return {
    rank,
    A: found[0] ?? identityValues(n),
    B: found[1] ?? identityValues(m),
    squaredError: 0,
    sumOfSquares: 0,
  };
}

async function nearest(
  gpu: Gpu,
  model: Model,
  adapter: Adapter,
  adapted: AdaptedModule,
  own: FrozenWeights,
  rank: number,
): Promise<LayerFactors> {
  const { path, m, n } = adapted.module;
  const { halves } = adapter.method;
  if (halves) return nearestFactors(await factoredUpdate(gpu, halves, adapter, adapted, own), m, n, rank);
  const merged = await mergedLayer(gpu, model, adapter, adapted, own);
  const { data } = denseWeight(model, `${path}.weight`);
  return nearestFactors(Float64Array.from(merged, (value, i) => value - data[i]), m, n, rank);
}

/** ΔW, where it needs no weight of the base. */
async function factoredUpdate(
  gpu: Gpu,
  halves: Halves,
  adapter: Adapter,
  adapted: AdaptedModule,
  own: FrozenWeights,
): Promise<Float64Array> {
  const update = tracedUpdate(new Graph(), halves, adapter, adapted);
  const [values] = await computed(gpu, [update], [adapted.module.n], adapted, own);
  return Float64Array.from(values!);
}

/** The values of those of the tensors that there are, whose inputs are the identities of `sizes`. */
async function computed(
  gpu: Gpu,
  tensors: readonly (Tensor | undefined)[],
  sizes: readonly number[],
  { module }: AdaptedModule,
  own: FrozenWeights,
): Promise<(Float32Array<ArrayBuffer> | undefined)[]> {
  const outputs = tensors.filter((tensor) => tensor !== undefined);
  using compiled = await compile(gpu, outputs, {
    label: `LoRA of ${module.path}`,
    weights: (name) => own.view(name)!,
  });
  compiled.upload(Object.fromEntries(sizes.map((size) => [identityInput(size), identityValues(size)])));
  compiled.run();
  return await Promise.all(tensors.map((tensor) => tensor && compiled.read(tensor)));
}

/** LoRA on the adapter's layers, with r = α in each. */
function attachedLora(
  model: Model,
  { modules, options, targeting }: Adapter,
  rank: number,
  factors: readonly LayerFactors[],
): Adapter {
  const { target, layers, modulesToSave } = targeting;
  const narrow = modules.flatMap(({ module: { path, m, n } }, i) =>
    Math.min(m, n) < rank ? [[patternFor(path), factors[i].rank]] : []
  );
  const pattern = narrow.length > 0 ? Object.fromEntries(narrow) : undefined;
  return attach(model, lora, {
    ...{ r: rank, alpha: rank, dropout: options.dropout ?? 0 },
    ...{ target, layers, modulesToSave, rankPattern: pattern, alphaPattern: pattern },
  });
}

/** The factors by their names, with as many rows and columns as the LoRA's rank. */
function loraWeights({ modules }: Adapter, factors: readonly LayerFactors[]): [string, Weight][] {
  return modules.flatMap(({ module: { path, m, n }, options }, i): [string, Weight][] => {
    const { r } = options as { readonly r: number };
    const { rank, A, B } = factors[i];
    return [
      [`${path}.A`, { shape: [r, n], data: inColumns(A, n, n, r) }],
      [`${path}.B`, { shape: [m, r], data: inColumns(B, rank, r, m) }],
    ];
  });
}

/** A matrix with `from` columns in the corner of a `rows`×`columns` matrix of zeros. */
function inColumns(
  values: Float32Array<ArrayBuffer>,
  from: number,
  columns: number,
  rows: number,
): Float32Array<ArrayBuffer> {
  const wide = new Float32Array(rows * columns);
  for (let row = 0; row * from < values.length; row++) {
    wide.set(values.subarray(row * from, (row + 1) * from), row * columns);
  }
  return wide;
}

/** The head, and modules of the base that are trained whole beside the adapter. */
function kept(
  model: Model,
  { method, trainedBase }: Adapter,
  weights: ReadonlyMap<string, Weight>,
): [string, Weight][] {
  const ofHead = headNames(model);
  return [...weights].filter(([name]) =>
    ofHead.includes(name) || !method.trainsBase && trainedBase.has(name)
  );
}

function errorsOf(
  model: Model,
  { method, modules, trainedBase }: Adapter,
  weights: ReadonlyMap<string, Weight>,
  factors: readonly LayerFactors[],
): LoraErrors {
  const layers = new Map(
    modules.map(({ module: { path } }, i) => [
      path,
      ratio(factors[i].squaredError, factors[i].sumOfSquares),
    ]),
  );
  const adapted = new Set(modules.map(({ module: { path } }) => `${path}.weight`));
  const others = method.trainsBase ? [...trainedBase].filter((name) => !adapted.has(name)) : [];
  const lost = others.map((name) =>
    [name, squaredChange(weights.get(name)!, model.weights.get(name)!)] as const
  )
    .filter(([, square]) => square > 0);
  const missing = sum(lost.map(([, square]) => square));
  const [error, all] = (["squaredError", "sumOfSquares"] as const).map((key) =>
    missing + sum(factors.map((own) => own[key]))
  );
  return { whole: ratio(error, all), layers, leftOut: lost.map(([name]) => name) };
}

/** √(error / all), and 0 where there is nothing to approximate. */
function ratio(error: number, all: number): number {
  return all === 0 ? 0 : Math.sqrt(error / all);
}

function squaredChange({ data: after }: Weight, { data: before }: Weight): number {
  return after.reduce((total, value, i) => total + (value - before[i]) ** 2, 0);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
