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
import { FrozenWeights } from "../../lib/run/frozen_weights.ts";
import { encodeExamples } from "../../lib/train/fine_tune.ts";
import { evaluateMetrics } from "../../lib/train/metrics.ts";
import { Trainer } from "../../lib/train/trainer.ts";
import { defaultTarget } from "../targets.ts";
import { type StepReport, trainSteps } from "./train_steps.ts";

/** Higher than the tables' rate, so that the curves part within a few steps. */
const learningRate = 1e-2;

/** The systems to train, by their labels in the tables. */
export const contestants = (["LoRA r 8", "BoRA r 8 b 16"] as const).map((label) => ({
  system: firstSystems.find((system) => system.label === label)!,
  learningRate,
}));

/** Of the data order, the dropout masks and the initial values. */
const seed = 0;

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
export interface Moment extends StepReport {
  readonly contestant: number;
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
  return contestants.map(({ system }) => attachSystem(model, system, { target: defaultTarget }, 0.05));
}

/** Trains both. Throws what `Trainer` throws. */
export async function trainSideBySide(gpu: Gpu, course: Course, watch: Watch = {}): Promise<Finish[]> {
  const { model, objective, train, dev, batchSize, epochs } = course;
  using owned = new DisposableStack();
  const frozen = owned.use(FrozenWeights.forTraining(gpu, model));
  const trainers = adaptersOf(course).map((adapter, i) => {
    const { learningRate } = contestants[i];
    const options = { learningRate, epochs, batchSize, warmupRatio: 0.03, seed };
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
  const { train: examples, batchSize, epochs, objective, dev, task: { metrics: [metric] } } = course;
  await turns.mine(contestant);
  const losses = await trainSteps(
    trainer,
    { examples, batchSize, epochs, seed },
    (report) => onStep({ contestant, ...report }),
    async () => {
      turns.pass(contestant);
      await turns.mine(contestant);
    },
  );
  const predictions = (await trainer.predict(dev)).map((row) => objective.decide(row));
  const scores = evaluateMetrics([metric], predictions, dev.map(({ label }) => label));
  turns.pass(contestant);
  return { losses, score: scores[metric]! };
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
