/**
 * Repeats `Trainer`'s computation in float64 on the CPU: its batches and initial values, the interpreter's
 * gradients, and AdamW.
 */

import type { Adapter } from "../../lib/adapters/attach.ts";
import { initialise } from "../../lib/adapters/initialise.ts";
import { constantWeights, startingWeights } from "../../lib/adapters/starting_weights.ts";
import { grad } from "../../lib/graph/grad.ts";
import { interpret } from "../../lib/graph/interpret.ts";
import type { Model } from "../../lib/models/model.ts";
import type { Encoded, Objective } from "../../lib/objectives/objective.ts";
import { adamWDefaults } from "../../lib/train/adamw.ts";
import { type Batch, batchInputs, makeBatches, shapeOf } from "../../lib/run/batches.ts";
import { linearSchedule } from "../../lib/train/schedule.ts";
import { traceStep } from "../../lib/run/step.ts";
import type { TrainOptions } from "../../lib/train/trainer.ts";

/** The loss of every step of a `Trainer` run with AdamW's defaults. */
export function lossesInFloat64(
  model: Model,
  adapter: Adapter,
  objective: Objective,
  examples: readonly Encoded[],
  options: TrainOptions,
): number[] {
  const { seed, batchSize, epochs, learningRate, accumulationSteps = 1 } = options;
  const trained = startingValues(model, adapter, objective, seed);
  const fixed = [...model.weights, ...model.constants, ...constantWeights(model, adapter)].map((
    [name, { data }],
  ) => [name, Float64Array.from(data)] as const);
  const batches = Array.from({ length: epochs }, (_, epoch) => makeBatches(examples, batchSize, seed, epoch));
  const steps = batches.flatMap((own) =>
    Array.from(
      { length: Math.ceil(own.length / accumulationSteps) },
      (_, i) => own.slice(i * accumulationSteps, (i + 1) * accumulationSteps),
    )
  );
  const rates = linearSchedule(steps.length, options).map((factor) => factor * learningRate);
  const optimizer = new AdamWInFloat64(trained);
  let count = 0;
  return steps.map((own, step) => {
    const parts = own.map((batch) => {
      const inputs = Object.entries({
        ...batchInputs(model, objective, shapeOf(objective, batchSize, batch, examples), batch, examples),
        clock: [seed, count++],
      }).map(([name, data]) => [name, Float64Array.from(data)] as const);
      const values = new Map([...fixed, ...trained, ...inputs]);
      return {
        examples: batch.indices.length,
        ...lossAndGradients(model, adapter, objective, { batch, batchSize }, values),
      };
    });
    optimizer.step(meanOf(parts), rates[step]);
    const total = parts.reduce((sum, { examples }) => sum + examples, 0);
    return parts.reduce((sum, { examples, loss }) => sum + examples * loss, 0) / total;
  });
}

/** Values by the trained tensor's name. */
type Named = Map<string, Float64Array>;

function startingValues(model: Model, adapter: Adapter, objective: Objective, seed: number): Named {
  const ofHead = [...objective.parameters].map(([name, spec]) =>
    [name, initialise(name, spec, seed)] as const
  );
  return new Map(
    [...ofHead, ...startingWeights(model, adapter, seed)].map((
      [name, { data }],
    ) => [name, Float64Array.from(data)]),
  );
}

function lossAndGradients(
  model: Model,
  adapter: Adapter,
  objective: Objective,
  { batch: { length }, batchSize: examples }: { readonly batch: Batch; readonly batchSize: number },
  values: Named,
): { readonly loss: number; readonly gradients: Named } {
  const { graph, losses, loss } = traceStep(model, adapter, objective, { examples, length, rows: 0 }, true);
  const targets = graph.nodes.filter(({ source }) => source === "trainable").map(({ outputs: [own] }) => own);
  const [[value], ...gradients] = interpret([loss, ...grad(losses, targets)], values);
  return { loss: value, gradients: new Map(targets.map(({ node }, i) => [node.name, gradients[i]])) };
}

/** The mean gradient over all examples, from the means of the parts. */
function meanOf(parts: readonly { readonly examples: number; readonly gradients: Named }[]): Named {
  const total = parts.reduce((sum, { examples }) => sum + examples, 0);
  return new Map(
    [...parts[0].gradients.keys()].map((name) => [
      name,
      parts[0].gradients.get(name)!.map((_, i) =>
        parts.reduce((sum, { examples, gradients }) => sum + examples * gradients.get(name)![i], 0) / total
      ),
    ]),
  );
}

/**
 * AdamW (Loshchilov & Hutter 2019) without weight decay, after clipping the gradients' global norm, as in
 * wgsl/adamw.wgsl.
 */
class AdamWInFloat64 {
  readonly #first: Named;
  readonly #second: Named;
  #steps = 0;

  constructor(private readonly weights: Named) {
    const zeros = () => new Map([...weights].map(([name, { length }]) => [name, new Float64Array(length)]));
    [this.#first, this.#second] = [zeros(), zeros()];
  }

  step(gradients: Named, rate: number): void {
    const { beta1, beta2, epsilon, maxNorm } = adamWDefaults;
    this.#steps++;
    const squares = [...gradients.values()].flatMap((own) => [...own]).reduce((sum, g) => sum + g * g, 0);
    const clip = Math.min(1, maxNorm / (Math.sqrt(squares) + 1e-6));
    for (const [name, gradient] of gradients) {
      const [w, m, v] = [this.weights, this.#first, this.#second].map((named) => named.get(name)!);
      gradient.forEach((value, i) => {
        const g = value * clip;
        m[i] = beta1 * m[i] + (1 - beta1) * g;
        v[i] = beta2 * v[i] + (1 - beta2) * g * g;
        const [mean, square] = [m[i] / (1 - beta1 ** this.#steps), v[i] / (1 - beta2 ** this.#steps)];
        w[i] -= rate * mean / (Math.sqrt(square) + epsilon);
      });
    }
  }
}
