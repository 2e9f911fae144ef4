/**
 * Trains LoRA and BoRA on the same examples, one step each in alternation, and reports progress; in a browser
 * or in Deno.
 */

import type { Adapter } from "../../lib/adapters/attach.ts";
import { attachSystem, firstSystems } from "../../lib/adapters/systems.ts";
import type { Task } from "../../lib/data/task.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import type { Model } from "../../lib/models/model.ts";
import type { Encoded, Objective } from "../../lib/objectives/objective.ts";
import { objectiveOf } from "../../lib/objectives/registry.ts";
import { makeBatches } from "../../lib/run/batches.ts";
import { FrozenWeights } from "../../lib/run/frozen_weights.ts";
import { encodeExamples } from "../../lib/train/fine_tune.ts";
import { evaluateMetrics } from "../../lib/train/metrics.ts";
import { Trainer } from "../../lib/train/trainer.ts";

/** Higher than the tables' rate, so that the curves part within a few steps. */
const learningRate = 1e-2;

/** The systems to train, by their labels in the tables. */
export const contestants = (["LoRA r 8", "BoRA r 8 b 16"] as const).map((label) => ({
  system: firstSystems.find((system) => system.label === label)!,
  learningRate,
}));

/** The adapted layers, as in the tables. */
export const target = ["query", "value"];

/** The model, data and settings that both are trained with. */
export interface Course {
  readonly model: Model;
  readonly task: Task;
  readonly train: readonly Encoded[];
  readonly dev: readonly Encoded[];
  readonly objective: Objective;
  readonly batchSize: number;
  readonly epochs: number;
}

/** A finished step of a contestant. */
export interface Moment {
  readonly contestant: number;
  /** Counted from 0. */
  readonly step: number;
  readonly loss: number;
  /** Tokens per second over all its steps so far, from upload to read-back, padding not counted. */
  readonly tokensPerSecond: number;
}

/** Callbacks that report progress. */
export interface Watch {
  /** Called while programs are compiled. */
  onProgram?(done: number, total: number): void;
  onStep?(moment: Moment): void;
}

/** A contestant's result. */
export interface Finish {
  readonly losses: readonly number[];
  /** The task's headline metric on dev. */
  readonly score: number;
}

/** Encodes the first examples of a task. */
export async function makeCourse(
  model: Model,
  task: Task,
  sizes: {
    readonly train: number;
    readonly dev: number;
    readonly batchSize: number;
    readonly epochs: number;
  },
  packages?: URL,
): Promise<Course> {
  const { train, dev } = await task.load({ packages });
  const { batchSize, epochs } = sizes;
  return {
    model,
    task,
    train: encodeExamples(model, task, train.slice(0, sizes.train)),
    dev: encodeExamples(model, task, dev.slice(0, sizes.dev)),
    objective: objectiveOf(model, task, train[0]),
    batchSize,
    epochs,
  };
}

/** The adapter of each contestant. */
export function adaptersOf({ model }: Course): Adapter[] {
  return contestants.map(({ system }) => attachSystem(model, system, { target }, 0.05));
}

/** Trains both. Throws what `Trainer` throws. */
export async function trainSideBySide(gpu: Gpu, course: Course, watch: Watch = {}): Promise<Finish[]> {
  const { model, objective, train, dev, batchSize, epochs } = course;
  using owned = new DisposableStack();
  const frozen = owned.use(FrozenWeights.forTraining(gpu, model));
  const trainers = adaptersOf(course).map((adapter, i) => {
    const { learningRate } = contestants[i];
    const options = { learningRate, epochs, batchSize, warmupRatio: 0.03, seed: 0 };
    return owned.use(new Trainer({ gpu, model, adapter, objective, examples: train, frozen, ...options }));
  });
  for (const [i, trainer] of trainers.entries()) {
    await trainer.prepare(
      dev,
      (done, total) => watch.onProgram?.(i * total + done, trainers.length * total),
    );
  }
  const turns = new Turns(trainers.length);
  return await Promise.all(
    trainers.map((trainer, i) => run(trainer, i, course, turns, (moment) => watch.onStep?.(moment))),
  );
}

/** Runs all epochs of one contestant, each step in its turn, and scores it. */
async function run(
  trainer: Trainer,
  contestant: number,
  course: Course,
  turns: Turns,
  onStep: (moment: Moment) => void,
): Promise<Finish> {
  const losses: number[] = [];
  let [tokens, seconds, started] = [0, 0, 0];
  const begin = async () => {
    await turns.mine(contestant);
    started = performance.now();
  };
  await begin();
  for (let epoch = 0; epoch < course.epochs; epoch++) {
    const sizes = tokensOfSteps(course, epoch);
    await trainer.epoch(async () => {
      const records = await trainer.records();
      const { step, loss } = records.at(-1)!;
      seconds += (performance.now() - started) / 1000;
      tokens += sizes[records.length - 1];
      losses.push(loss);
      onStep({ contestant, step, loss, tokensPerSecond: tokens / seconds });
      turns.pass(contestant);
      await begin();
    });
  }
  const predictions = (await trainer.predict(course.dev)).map((row) => course.objective.decide(row));
  const [metric] = course.task.metrics;
  const scores = evaluateMetrics([metric], predictions, course.dev.map(({ label }) => label));
  turns.pass(contestant);
  return { losses, score: scores[metric]! };
}

/** Tokens in the texts of each step's batch, padding not counted. */
function tokensOfSteps({ train, batchSize }: Course, epoch: number): number[] {
  return makeBatches(train, batchSize, 0, epoch).map(({ indices }) =>
    indices.reduce((sum, index) => sum + train[index].texts.flat().length, 0)
  );
}

/** Lets several participants take turns, in a fixed order. */
class Turns {
  readonly #turns: PromiseWithResolvers<void>[];

  constructor(count: number) {
    this.#turns = Array.from({ length: count }, () => Promise.withResolvers<void>());
    this.#turns[0].resolve();
  }

  /** Waits until it is `own`'s turn. */
  mine(own: number): Promise<void> {
    return this.#turns[own].promise;
  }

  /** Ends `own`'s turn. */
  pass(own: number): void {
    this.#turns[own] = Promise.withResolvers<void>();
    this.#turns[(own + 1) % this.#turns.length].resolve();
  }
}
