/** Predictions of a model with an adapter, batch by batch. */

import type { Adapter } from "../adapters/attach.ts";
import type { Gpu } from "../gpu/device.ts";
import { type Arena, compile, type CompiledGraph } from "../graph/compile.ts";
import type { Tensor } from "../graph/graph.ts";
import type { Model } from "../models/model.ts";
import type { BatchShape, Encoded, Objective } from "../objectives/objective.ts";
import { type BatchInputs, batchInputs, inputArrays, keyOf, makeBatches, shapeOf } from "./batches.ts";
import { checkTexts } from "./check_examples.ts";
import { Kept } from "./kept.ts";
import { traceStep } from "./step.ts";
import type { WeightStore } from "./weight_store.ts";

/** Programs kept, one for each size of batches: as many as of training steps (see `Trainer`). */
const mostPrograms = 16;

/** What predicts. */
export interface Predicting {
  readonly model: Model;
  readonly adapter: Adapter;
  readonly objective: Objective;
  readonly weights: WeightStore;
  /** Examples per batch. */
  readonly batchSize: number;
  readonly arena: Arena;
}

interface Program extends Disposable {
  readonly compiled: CompiledGraph;
  readonly predictions: Tensor;
  readonly arrays: BatchInputs & { readonly clock: Uint32Array<ArrayBuffer> };
}

/** Predicts examples, with programs and a buffer for results that are kept from one call to the next. */
export class Predictor implements Disposable {
  readonly #programs = new Kept<Program>(mostPrograms);
  /** Buffers for results that no call is using. */
  readonly #results: GPUBuffer[] = [];
  #isDisposed = false;

  constructor(private readonly gpu: Gpu, private readonly own: Predicting) {}

  /** Compiles the program for batches of this size, unless it is kept. Throws what compiling throws. */
  prepare(shape: BatchShape): Promise<void> {
    return this.#use(shape, () => {});
  }

  /**
   * Predicts every example: the objective's values. Reads back from the GPU once.
   * @throws Error that names the first example whose texts the model cannot take.
   */
  async predict(examples: readonly Encoded[]): Promise<Float32Array[]> {
    const { model, objective, batchSize } = this.own;
    checkTexts(model, objective, examples);
    const batches = makeBatches(examples, batchSize, 0, 0);
    const bytes = batchSize * objective.values * 4;
    const shapes = batches.map((batch) => shapeOf(objective, batchSize, batch, examples));
    using owned = new DisposableStack();
    let isDone = false;
    // A call that fails keeps none: there may be no memory for it.
    const results = owned.adopt(
      this.#resultsOf(batches.length * bytes),
      (own) => isDone ? this.#giveBack(own) : this.gpu.destroyBuffer(own),
    );
    await this.gpu.settled();
    for (const shape of largestFirst(shapes)) {
      await this.#use(shape, ({ compiled, predictions, arrays }) => {
        for (const [i, batch] of batches.entries()) {
          if (keyOf(shapes[i]) !== keyOf(shape)) continue;
          batchInputs(model, objective, shape, batch, examples, arrays);
          compiled.upload(arrays);
          compiled.run([{ from: compiled.view(predictions), to: results, toOffset: i * bytes }]);
        }
      });
    }
    const flat = new Float32Array(await this.gpu.read(results, batches.length * bytes));
    isDone = true;
    const byExample: Float32Array[] = [];
    batches.forEach(({ indices }, i) =>
      indices.forEach((index, row) => {
        const at = (i * batchSize + row) * objective.values;
        byExample[index] = flat.subarray(at, at + objective.values);
      })
    );
    return byExample;
  }

  #use(shape: BatchShape, body: (program: Program) => void): Promise<void> {
    return this.#programs.use([keyOf(shape)], () => this.#compile(shape), body);
  }

  /** Takes a buffer of at least this size: one that an earlier call used, or a new one in its place. */
  #resultsOf(bytes: number): GPUBuffer {
    const known = this.#results.pop();
    if (known && known.size >= bytes) return known;
    if (known) this.gpu.destroyBuffer(known);
    return this.gpu.createBuffer("predictions", bytes);
  }

  /** Keeps a buffer for the next call, if there may be one. */
  #giveBack(results: GPUBuffer): void {
    if (this.#isDisposed) this.gpu.destroyBuffer(results);
    else this.#results.push(results);
  }

  async #compile(shape: BatchShape): Promise<Program> {
    const { model, adapter, objective, weights, arena } = this.own;
    const storage = (name: string) => weights.storage(name);
    const { predictions } = traceStep(model, adapter, objective, shape, false, storage);
    const compiled = await compile(this.gpu, [predictions], {
      label: `predict ${keyOf(shape)}`,
      weights: (name) => weights.view(name),
      arena,
    });
    const arrays = { ...inputArrays(objective, shape), clock: new Uint32Array(2) };
    return { compiled, predictions, arrays, [Symbol.dispose]: () => compiled[Symbol.dispose]() };
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#programs[Symbol.dispose]();
    for (const buffer of this.#results.splice(0)) this.gpu.destroyBuffer(buffer);
  }
}

/** The different sizes, largest first: the order in which an arena wants their programs. */
export function largestFirst(shapes: readonly BatchShape[]): BatchShape[] {
  const different = new Map(shapes.map((shape) => [keyOf(shape), shape]));
  return [...different.values()].sort((a, b) => b.length - a.length || b.rows - a.rows);
}
