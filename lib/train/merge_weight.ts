/** Merges one adapted layer on the GPU. */

import type { Adapter } from "../adapters/attach.ts";
import type { AdaptedModule } from "../adapters/targeting.ts";
import { tracedMerge } from "../adapters/merge.ts";
import type { Gpu } from "../gpu/device.ts";
import type { BufferView } from "../gpu/program.ts";
import { compile, type CompiledGraph } from "../graph/compile.ts";
import { Graph, type Tensor } from "../graph/graph.ts";

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
  const unit = Float32Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) === 0));
  compiled.upload({ identity: unit });
  return { compiled, merged };
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
