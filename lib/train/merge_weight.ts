/** Merges adapted layers on the GPU. */

import type { Adapter } from "../adapters/attach.ts";
import type { SavedAdapter } from "../adapters/peft.ts";
import type { AdaptedModule } from "../adapters/targeting.ts";
import { identityValues } from "../adapters/identity.ts";
import { tracedMerge } from "../adapters/merge.ts";
import type { Gpu } from "../gpu/device.ts";
import type { BufferView } from "../gpu/program.ts";
import { compile, type CompiledGraph } from "../graph/compile.ts";
import { Graph, type Tensor } from "../graph/graph.ts";
import { denseWeight, type Model } from "../models/model.ts";
import { FrozenWeights } from "../run/frozen_weights.ts";

/** A program that computes a merged weight, with its inputs uploaded and ready to replay. */
export interface MergeProgram {
  readonly compiled: CompiledGraph;
  /** The merged weight, [m, n]. */
  readonly merged: Tensor;
}

/**
 * Compiles the merge of one layer; `weights` finds the tensors of the base and of the adapter. The caller
 * disposes of `compiled`.
 * @throws Error when the method's update depends on the input.
 */
export async function compileMerge(
  gpu: Gpu,
  adapter: Adapter,
  adapted: AdaptedModule,
  weights: (name: string) => BufferView,
): Promise<MergeProgram> {
  const { path, n } = adapted.module;
  const graph = new Graph();
  const merged = tracedMerge(graph, adapter, adapted, graph.input("identity", [n, n]));
  const compiled = await compile(gpu, [merged], { label: `merge ${path}`, weights });
  compiled.upload({ identity: identityValues(n) });
  return { compiled, merged };
}

/** Computes a tensor's values. */
export type NewValues = () => Promise<Float32Array<ArrayBuffer>>;

/**
 * New values for the base weights that the adapter changes, by name; `own` are the adapter's tensors and constants. Each is computed
 * only when it is asked for.
 */
export function changesOf(
  gpu: Gpu,
  model: Model,
  { adapter, weights }: SavedAdapter,
  own: FrozenWeights,
): Map<string, NewValues> {
  const trained = [...adapter.trainedBase].map((name): [string, NewValues] => [
    name,
    () => Promise.resolve(weights.get(name)!.data),
  ]);
  const merged = adapter.modules.map((adapted): [string, NewValues] => [
    `${adapted.module.path}.weight`,
    () => mergedLayer(gpu, model, adapter, adapted, own),
  ]);
  return new Map([...trained, ...merged]);
}

/**
 * Computes the merged weight of one layer of `model`, [m, n]; `own` are the adapter's tensors and constants.
 * @throws Error when the update depends on the input, or the layer's weight is packed.
 */
export async function mergedLayer(
  gpu: Gpu,
  model: Model,
  adapter: Adapter,
  adapted: AdaptedModule,
  own: FrozenWeights,
): Promise<Float32Array<ArrayBuffer>> {
  const name = `${adapted.module.path}.weight`;
  // A method that merges during training stores the merged weight itself.
  using base = new FrozenWeights(gpu, own.view(name) ? [] : [[name, denseWeight(model, name)]]);
  return await mergedWeight(gpu, adapter, adapted, (weight) => own.view(weight) ?? base.view(weight)!);
}

/**
 * Computes the merged weight of one layer, [m, n]; `weights` as for `compileMerge`.
 * @throws what `compileMerge` throws.
 */
export async function mergedWeight(
  gpu: Gpu,
  adapter: Adapter,
  adapted: AdaptedModule,
  weights: (name: string) => BufferView,
): Promise<Float32Array<ArrayBuffer>> {
  const { compiled, merged } = await compileMerge(gpu, adapter, adapted, weights);
  using program = compiled;
  program.run();
  return await program.read(merged);
}
