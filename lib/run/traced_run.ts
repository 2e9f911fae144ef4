/**
 * A traced computation with its inputs on the GPU, which can be run repeatedly: for benchmarks and device
 * measurements.
 */

import type { Gpu } from "../gpu/device.ts";
import { compile } from "../graph/compile.ts";
import { Graph, type Tensor } from "../graph/graph.ts";
import { FrozenWeights } from "./frozen_weights.ts";

/** An input of the computation. */
export interface RunInput {
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
}

/** A computation that is ready to run. */
export interface TracedRun {
  /** Runs it once and returns the results. */
  results(): Promise<Float32Array[]>;
  /** Runs it `times` times and waits for the last run. This is what is timed. */
  lap(times: number): Promise<void>;
  dispose(): void;
}

/** Traces the computation from its inputs, which are weights of `graph`. */
export type RunTrace = (inputs: Readonly<Record<string, Tensor>>, graph: Graph) => readonly Tensor[];

/** Options for the inputs. */
export interface RunOptions {
  /** One-dimensional integer inputs. */
  readonly integers?: Readonly<Record<string, Uint32Array<ArrayBuffer>>>;
  /** Names of the inputs that may be differentiated. */
  readonly trainable?: readonly string[];
}

/** Compiles what `trace` traces and uploads its inputs. Throws what `compile` throws. */
export async function tracedRun(
  gpu: Gpu,
  inputs: Readonly<Record<string, RunInput>>,
  trace: RunTrace,
  { integers = {}, trainable = [] }: RunOptions = {},
): Promise<TracedRun> {
  const graph = new Graph();
  const outputs = trace(
    Object.fromEntries([
      ...Object.entries(inputs).map(([name, { shape }]) => [
        name,
        graph.weight(name, shape, trainable.includes(name)),
      ]),
      ...Object.entries(integers).map(([name, data]) => [name, graph.input(name, [data.length], "u32")]),
    ]),
    graph,
  );
  using owned = new DisposableStack();
  const frozen = owned.use(new FrozenWeights(gpu, Object.entries(inputs)));
  const compiled = owned.use(
    await compile(gpu, outputs, { label: "traced run", weights: (name) => frozen.view(name)! }),
  );
  compiled.upload(integers);
  const all = owned.move();
  return {
    async results() {
      compiled.run();
      const values = [];
      for (const output of outputs) values.push(await compiled.read(output));
      return values;
    },
    async lap(times) {
      for (let i = 0; i < times; i++) compiled.run();
      await compiled.read(outputs[0], 1);
    },
    dispose: () => all.dispose(),
  };
}
