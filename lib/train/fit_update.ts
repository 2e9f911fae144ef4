/** Measures how well a method can express a given update ΔW*: AdamW on the GPU minimises ‖ΔW − ΔW*‖²_F. */

import type { Adapter } from "../adapters/attach.ts";
import { constantWeights, startingWeights } from "../adapters/starting_weights.ts";
import { tracedParameters } from "../adapters/trace.ts";
import type { Gpu } from "../gpu/device.ts";
import type { BufferView } from "../gpu/program.ts";
import { compile, type CompiledGraph } from "../graph/compile.ts";
import { separateGradients } from "../graph/grad.ts";
import { Graph, type Tensor } from "../graph/graph.ts";
import { meanSquaredError } from "../graph/ops/losses.ts";
import type { Model, Weight } from "../models/model.ts";
import { AdamW, adamWDefaults } from "./adamw.ts";
import { linearSchedule } from "./schedule.ts";
import { FrozenWeights } from "../run/frozen_weights.ts";
import { TrainableWeights } from "../run/trainable_weights.ts";

/** Options of a fit. */
export interface FitOptions {
  readonly learningRate: number;
  readonly steps: number;
  readonly seed: number;
}

/** Transposes a row-major [m, n] matrix to [n, m]. */
function transposed(values: ArrayLike<number>, m: number, n: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: m * n }, (_, i) => values[(i % m) * n + Math.floor(i / m)]);
}

/** Traces the layer applied to the n unit vectors, (W + ΔW)ᵀ, and its mean squared distance from the goal. */
function traceFit(adapter: Adapter): { graph: Graph; loss: Tensor; clock: Tensor } {
  const [adapted] = adapter.modules;
  const { path, m, n } = adapted.module;
  const graph = new Graph();
  const constant = (name: string, shape: readonly number[]) => graph.weight(name, shape, false);
  const identity = constant("unit vectors", [n, n]);
  const y = adapter.method.forward({
    ...adapted,
    x: identity,
    dropped: identity,
    weight: constant(`${path}.weight`, [m, n]),
    parameters: tracedParameters(graph, adapter, adapted),
    lengths: graph.input("lengths", [1], "u32"),
    base: () => constant("transposed weight", [n, m]),
    product: () => constant("transposed weight", [n, m]),
    addLoss: () => {},
  });
  const loss = meanSquaredError(y, constant("goal", [n * m]), constant("ones", [n * m]));
  return { graph, loss, clock: graph.input("clock", [2], "u32") };
}

/**
 * Fits `adapter`, attached to one layer of `model`, to `update` (ΔW*, [m, n] row-major).
 * @returns ‖ΔW − ΔW*‖²_F / ‖ΔW*‖²_F after the last step.
 * @throws Error when the fit is not finite, naming the step.
 */
export async function fitUpdate(
  gpu: Gpu,
  model: Model,
  adapter: Adapter,
  update: Float64Array,
  { learningRate, steps, seed }: FitOptions,
): Promise<number> {
  using frozen = new FrozenWeights(gpu, frozenOf(model, adapter, update));
  using trainable = new TrainableWeights(gpu, startingWeights(model, adapter, seed));
  // The updates and so the gradients are small: Adam's usual ε would dominate them. The rates end with a 0,
  // because the step after the last one measures the error that is left.
  const rates = [...linearSchedule(steps, { warmupRatio: 0.03 }).map((factor) => factor * learningRate), 0];
  using optimizer = new AdamW(
    gpu,
    trainable,
    { ...adamWDefaults, epsilon: 1e-16, maxNorm: 0 },
    rates,
    () => false,
  );
  const { graph, loss, clock } = traceFit(adapter);
  const targets = graph.nodes.filter((node) => node.source === "trainable").map((node) => node.outputs[0]);
  const gradients = separateGradients([loss], targets);
  const destinations = new Map<Tensor, BufferView>(
    gradients.map((gradient, i) => [gradient, trainable.gradientView(targets[i].node.name)]),
  );
  using compiled = await compile(gpu, [loss, ...gradients, clock], {
    label: `fit ${adapter.method.name}`,
    weights: (name) => trainable.view(name) ?? frozen.view(name)!,
    destinations,
    epilogue: (view) => optimizer.calls(view(loss), view(clock)),
  });
  const left = await lastLoss(compiled, optimizer, seed, rates.length);
  return left * update.length / update.reduce((sum, value) => sum + value * value, 0);
}

/** The tensors that the traced fit reads but does not train, by name. */
function frozenOf(model: Model, adapter: Adapter, update: Float64Array): Map<string, Weight> {
  const { path, m, n } = adapter.modules[0].module;
  const weight = model.weights.get(`${path}.weight`)!;
  // Read once: for a weight in a file, each access reads the file.
  const base = weight.data;
  const shape = [n, m];
  return new Map<string, Weight>([
    ...constantWeights(model, adapter),
    [`${path}.weight`, weight],
    ["unit vectors", {
      shape: [n, n],
      data: Float32Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) === 0)),
    }],
    ["transposed weight", { shape, data: transposed(base, m, n) }],
    ["goal", { shape, data: transposed(update.map((value, i) => value + base[i]), m, n) }],
    ["ones", { shape, data: new Float32Array(m * n).fill(1) }],
  ]);
}

/** Runs all steps and returns the last one's loss. */
async function lastLoss(
  fit: CompiledGraph,
  optimizer: AdamW,
  seed: number,
  steps: number,
): Promise<number> {
  let left = NaN;
  for (let done = 1; done <= steps; done++) {
    fit.upload({ clock: Uint32Array.of(seed, done - 1) });
    fit.run();
    if (done % optimizer.capacity === 0 || done === steps) {
      left = (await optimizer.read(done)).at(-1)!.loss;
    }
  }
  return left;
}
