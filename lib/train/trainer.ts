/**
 * Fine-tunes a head and an adapter on one task. Programs are built before training, a batch is one submit
 * (with gradient accumulation, a step is one more; large ones are several, see `gpu/program.ts`), and losses are
 * read only once an epoch.
 */

import type { Adapter } from "../adapters/attach.ts";
import { checkAdapter } from "../adapters/check_adapter.ts";
import { constantWeights } from "../adapters/starting_weights.ts";
import type { Gpu } from "../gpu/device.ts";
import { Arena, compile, type CompiledGraph } from "../graph/compile.ts";
import { layerOfPath, separateGradients } from "../graph/grad.ts";
import { sizeOf } from "../graph/graph.ts";
import type { Model, Weight } from "../models/model.ts";
import type { BatchShape, Encoded, Objective } from "../objectives/objective.ts";
import {
  type Batch,
  type BatchInputs,
  batchInputs,
  inputArrays,
  keyOf,
  makeBatches,
  shapeOf,
} from "../run/batches.ts";
import { checkExamples, checkTexts } from "../run/check_examples.ts";
import { FrozenWeights } from "../run/frozen_weights.ts";
import { Kept } from "../run/kept.ts";
import { largestFirst, Predictor } from "../run/predictor.ts";
import { traceStep } from "../run/step.ts";
import { TrainableWeights } from "../run/trainable_weights.ts";
import { WeightStore } from "../run/weight_store.ts";
import { Accumulator } from "./accumulator.ts";
import { AdamW, adamWDefaults, type AdamWOptions, DivergedError, type StepRecord } from "./adamw.ts";
import { checkTrainOptions, withoutUndefined } from "./check_options.ts";
import { checkParts } from "./check_parts.ts";
import {
  describeRun,
  type Notes,
  type Place,
  readCheckpoint,
  type RunDescription,
  writeCheckpoint,
} from "./checkpoint.ts";
import { RestartableBase, restartsBefore, rewarmFactor } from "./restarts.ts";
import { linearSchedule, type WarmUp } from "./schedule.ts";
import { allStartingWeights, isDecayed } from "./trained_tensors.ts";

/** Training options. The learning rate warms up as `WarmUp` says and then decays linearly to 0. */
export interface TrainOptions extends Partial<AdamWOptions>, WarmUp {
  /** The highest learning rate, reached after the warm-up. */
  readonly learningRate: number;
  /** Passes over the examples. */
  readonly epochs: number;
  /** Examples per batch. */
  readonly batchSize: number;
  /**
   * Batches per optimizer step (transformers' `gradient_accumulation_steps`); 1 by default. Loss and gradient
   * are means over all examples of the step, however many each batch has. A loss that the method adds is
   * weighted by its batch's number of examples.
   */
  readonly accumulationSteps?: number;
  /**
   * Gradient checkpointing: keeps only each layer's input and computes the layer again in the backward pass.
   * Less memory, the same bits.
   */
  readonly recompute?: boolean;
  /** Seed of the data order, the dropout masks and the initial values. */
  readonly seed: number;
}

/** What a `Trainer` trains, on what, and how. */
export interface TrainerOptions extends TrainOptions {
  /** Where to train (`openGpu`). */
  readonly gpu: Gpu;
  /** The model that the adapter is attached to. */
  readonly model: Model;
  /** What is trained (`attach`). */
  readonly adapter: Adapter;
  /** What the adapter and the head are trained for (`objectiveOf`). */
  readonly objective: Objective;
  /** Tokenized examples to train on (`encodeExamples`). */
  readonly examples: readonly Encoded[];
  /** The model's weights, if they are on the GPU already; by default the trainer uploads them. */
  readonly frozen?: FrozenWeights;
}

/** What a trainer cannot do without. */
const needed = ["gpu", "model", "adapter", "objective", "examples"] as const;

/** Throws an Error when there is nothing to train: no head, and a method that has no tensors. */
function checkTrains({ method, parameters, trainedBase }: Adapter, objective: Objective): void {
  if (objective.parameters.size + parameters.size + trainedBase.size > 0) return;
  throw new Error(
    `${method.name} trains nothing here, where there is no head: attach a method that adapts the model`,
  );
}

/**
 * Programs of training steps kept, one for each size of batches (see `keyOf`): more than there are padded lengths up to 512 tokens.
 * Where a number of learnt rows is a part of the size, the rarest may be built again.
 */
const mostPrograms = 16;

/** A compiled step, and the arrays that its inputs are uploaded from. */
interface StepProgram extends Disposable {
  readonly compiled: CompiledGraph;
  readonly arrays: BatchInputs & { readonly clock: Uint32Array<ArrayBuffer> };
}

/**
 * Trains one model with one adapter on one set of examples. It owns GPU memory: declare it with `using`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { attach, bora, encodeExamples, loadUseLite, objectiveOf, openGpu, taskByName, Trainer } from "@bora/webgpu";
 *
 * using gpu = await openGpu();
 * const model = await loadUseLite();
 * const task = taskByName("sentiment");
 * const { train } = await task.load();
 * const examples = encodeExamples(model, task, train.slice(0, 16));
 * const adapter = attach(model, bora, { r: 8, blocks: 16, target: ["query", "value"] });
 * const options = { learningRate: 3e-3, epochs: 1, batchSize: 8, warmupRatio: 0, seed: 0 };
 * using trainer = new Trainer({ gpu, model, adapter, objective: objectiveOf(model, task, train[0]), examples, ...options });
 * const records = await trainer.epoch();
 * assert.deepEqual(records.map(({ step }) => step), [0, 1]);
 * console.log(records[0].loss, await trainer.predict(examples));
 * ```
 */
export class Trainer implements Disposable {
  /** Optimizer steps of the whole run. */
  readonly steps: number;
  /** @internal The trainable tensors, on the GPU. */
  readonly trainable: TrainableWeights;
  readonly #ownBase: RestartableBase | undefined;
  readonly #gpu: Gpu;
  readonly #model: Model;
  readonly #adapter: Adapter;
  readonly #objective: Objective;
  readonly #examples: readonly Encoded[];
  readonly #options: TrainOptions;
  readonly #optimizer: AdamW;
  readonly #arena: Arena;
  readonly #weights: WeightStore;
  readonly #programs: Kept<StepProgram>;
  readonly #predictor: Predictor;
  /** Everything that this run has allocated. */
  readonly #owned: DisposableStack;
  #accumulator: Accumulator | undefined;
  /** The accumulator, also while it is being made: all programs sum into the same. */
  #accumulating: Promise<Accumulator> | undefined;
  #description: Promise<RunDescription> | undefined;
  /** What has begun and not ended, an epoch or a resumption: neither may run beside another. */
  #running: string | undefined;
  /** Whether a step has begun and not ended. */
  #isStepping = false;
  /** Records of the current epoch's steps, as far as they have been read. */
  #records: StepRecord[] = [];
  #kept: ReadonlyMap<string, Weight> | undefined;
  #step = 0;
  /** Batches so far. Dropout masks depend on it. */
  #batch = 0;

  /** Throws an Error, and allocates nothing, when an option or an example cannot be trained with. */
  constructor({ gpu, model, adapter, objective, examples, frozen, ...given }: TrainerOptions) {
    const options = withoutUndefined(given);
    [this.#gpu, this.#model, this.#adapter, this.#objective] = [gpu, model, adapter, objective];
    [this.#examples, this.#options] = [examples, options];
    checkTrainOptions(options, "the trainer", [...needed, "frozen"]);
    checkParts("the trainer", { gpu, model, adapter, objective, examples }, needed);
    checkAdapter(model, adapter);
    checkExamples(model, objective, examples);
    checkTrains(adapter, objective);
    frozen?.refuseOther(model);
    const batches = Math.ceil(examples.length / options.batchSize);
    this.steps = Math.ceil(batches / (options.accumulationSteps ?? 1)) * options.epochs;
    using owned = new DisposableStack();
    const base = frozen ?? owned.use(FrozenWeights.forTraining(gpu, model));
    const constants = owned.use(new FrozenWeights(gpu, constantWeights(model, adapter)));
    this.#ownBase = adapter.method.restarts && owned.use(new RestartableBase(gpu, model, adapter));
    const starting = allStartingWeights(model, adapter, objective, options.seed);
    this.trainable = owned.use(new TrainableWeights(gpu, starting));
    const rates = linearSchedule(this.steps, options).map((factor, step) =>
      factor * rewarmFactor(adapter, step) * options.learningRate
    );
    const adamW = { ...adamWDefaults, ...options };
    const decayed = isDecayed(model, adapter, objective);
    this.#optimizer = owned.use(new AdamW(gpu, this.trainable, adamW, rates, decayed));
    const ownBase = this.#ownBase ? [this.#ownBase] : [];
    this.#weights = new WeightStore(this.trainable, ...ownBase, constants, base);
    this.#arena = owned.use(new Arena(gpu));
    this.#programs = owned.use(new Kept<StepProgram>(mostPrograms));
    const { batchSize } = options;
    this.#predictor = owned.use(
      new Predictor(gpu, {
        model,
        adapter,
        objective,
        weights: this.#weights,
        batchSize,
        arena: this.#arena,
      }),
    );
    this.#owned = owned.move();
  }

  /**
   * Compiles the programs for every text length in the training and dev examples, longest first.
   * @throws Error that names the first dev example whose texts the model cannot take.
   */
  async prepare(dev: readonly Encoded[], onProgram?: (done: number, total: number) => void): Promise<void> {
    checkTexts(this.#model, this.#objective, dev);
    const { batchSize, seed } = this.#options;
    const shapes = (examples: readonly Encoded[], seed: number) => {
      const batches = makeBatches(examples, batchSize, seed, 0);
      return largestFirst(batches.map((batch) => shapeOf(this.#objective, batchSize, batch, examples)));
    };
    const jobs = [
      ...shapes(this.#examples, seed).map((shape) => () => this.#use(shape, () => {})),
      ...shapes(dev, 0).map((shape) => () => this.#predictor.prepare(shape)),
    ];
    for (const [i, compiled] of jobs.entries()) {
      await compiled();
      onProgram?.(i + 1, jobs.length);
    }
  }

  /**
   * Runs the next epoch, or the rest of one that was stopped, and returns the records of all its steps.
   * `onStep` is called and awaited after each step's submit; it should wait for the GPU only to write a
   * checkpoint.
   * @throws Error when all planned steps are done, or while an epoch or `resume` is running; DivergedError when a loss or gradient is not finite, and
   * at every later call: weights, moments and restarts stay those of the step before.
   */
  async epoch(onStep?: (step: number) => unknown): Promise<StepRecord[]> {
    this.#refuseDisposed();
    if (onStep !== undefined && typeof onStep !== "function") {
      throw new Error(
        `epoch takes what to call after each step, not ${onStep}: it knows which epoch is next`,
      );
    }
    return await this.#alone("an epoch is running", "run the next", () => this.#runEpoch(onStep));
  }

  /** Throws an Error when an epoch is running, or a checkpoint being read: `next` waits for that. */
  async #alone<T>(what: string, next: string, body: () => Promise<T>): Promise<T> {
    if (this.#running) throw new Error(`${this.#running}: await it before you ${next}`);
    this.#running = what;
    try {
      return await body();
    } finally {
      this.#running = undefined;
    }
  }

  async #runEpoch(onStep?: (step: number) => unknown): Promise<StepRecord[]> {
    // Some are unread if onStep threw in an earlier call.
    if (!this.#optimizer.hasRead(this.#step)) await this.#readRecords();
    const { batchSize, seed, epochs } = this.#options;
    if (this.#step === this.steps) {
      throw new Error(`all ${epochs} epochs have been run: plan more of them in the options`);
    }
    const done = this.#stepsOfEpoch(this.#step);
    if (done === 0) this.#records = [];
    const epoch = Math.floor(this.#step * epochs / this.steps);
    const steps = chunksOf(makeBatches(this.#examples, batchSize, seed, epoch), this.#accumulationSteps);
    for (const batches of steps.slice(done)) {
      await this.#runStep(batches);
      await onStep?.(this.#step);
      if (this.#step % this.#optimizer.capacity === 0) await this.#readRecords();
    }
    await this.#readRecords();
    return this.#records;
  }

  /**
   * The records of the current epoch's steps so far, for use in `onStep`. Waits for the GPU (at least 10 ms
   * in Deno).
   */
  async records(): Promise<readonly StepRecord[]> {
    this.#refuseDisposed();
    await this.#readRecords();
    return this.#records;
  }

  /** After `step` steps in total: how many of them belong to the current epoch. */
  #stepsOfEpoch(step: number): number {
    return step % (this.steps / this.#options.epochs);
  }

  async #readRecords(): Promise<void> {
    this.#records.push(...await this.#optimizer.read(this.#step));
  }

  get #accumulationSteps(): number {
    return this.#options.accumulationSteps ?? 1;
  }

  /** Runs one optimizer step on the examples of one or more batches. */
  async #runStep(batches: readonly Batch[]): Promise<void> {
    this.#refuseDisposed();
    this.#isStepping = true;
    try {
      await this.#submitStep(batches);
    } finally {
      this.#isStepping = false;
    }
  }

  async #submitStep(batches: readonly Batch[]): Promise<void> {
    const beforeRestart = restartsBefore(this.#adapter, this.#step) ? await this.#state() : undefined;
    try {
      if (beforeRestart) await this.#restart();
      await this.#submitBatches(batches);
    } catch (error) {
      // Whoever runs the step again restarts again, and would merge twice.
      if (beforeRestart) this.#restore(beforeRestart);
      throw error;
    }
    this.#accumulator?.step(this.#options.seed, this.#step);
    this.#batch += batches.length;
    this.#step++;
    if (beforeRestart) await this.#keepRestartOrTakeBack(beforeRestart);
  }

  async #submitBatches(batches: readonly Batch[]): Promise<void> {
    for (const [i, batch] of batches.entries()) {
      const shape = shapeOf(this.#objective, this.#options.batchSize, batch, this.#examples);
      await this.#use(shape, ({ compiled, arrays }) => {
        batchInputs(this.#model, this.#objective, shape, batch, this.#examples, arrays);
        arrays.clock[1] = this.#batch + i;
        compiled.upload(arrays);
        this.#accumulator?.begin(i);
        compiled.run();
      });
    }
  }

  /**
   * Predicts every example: `[class scores]`, `[value]` or `[option scores]`. Reads back from the GPU once. Call it between epochs,
   * or within one from `epoch`'s `onStep`.
   * @throws Error that names the first example whose texts the model cannot take, and when a step runs meanwhile.
   */
  async predict(examples: readonly Encoded[]): Promise<Float32Array[]> {
    this.#refuseDisposed();
    return await this.#ofOneState("predictions", () => this.#predictor.predict(examples));
  }

  /** What `read` reads. Throws an Error when steps ran meanwhile: it could be of the weights before them and after. */
  async #ofOneState<T>(what: string, read: () => Promise<T>): Promise<T> {
    const step = this.#step;
    const result = await read();
    if (!this.#isStepping && this.#step === step) return result;
    throw new Error(`steps ran while ${what} were read: await them in onStep, or between epochs`);
  }

  async #restart(): Promise<void> {
    const every = this.#adapter.method.restarts!.every(this.#adapter.options);
    await this.#ownBase!.restart(this.trainable, this.#options.seed, this.#step / every);
  }

  /**
   * A restart belongs to its step. If that step or an earlier one was not finite, the state before the
   * restart is restored.
   */
  async #keepRestartOrTakeBack(before: ReadonlyMap<string, Weight>): Promise<void> {
    try {
      await this.#readRecords();
    } catch (error) {
      if (error instanceof DivergedError) this.#restore(before);
      throw error;
    }
  }

  #restore(state: ReadonlyMap<string, Weight>): void {
    this.trainable.restore(state);
    this.#ownBase?.restore(state);
  }

  /**
   * All trained tensors by name, the head's included, as `saveAdapter` takes them. If the method merges into
   * its base during training, also the adapted layers' weights. After a step that was not finite, those of
   * the step before.
   * @throws Error when the method merges into its base and a step runs meanwhile.
   */
  async weights(): Promise<Map<string, Weight>> {
    this.#refuseDisposed();
    const base = this.#ownBase;
    if (!base) return await this.#trained();
    return await this.#ofOneState(
      "weights",
      async () => new Map([...await this.#trained(), ...await base.read()]),
    );
  }

  async #trained(): Promise<Map<string, Weight>> {
    const values = await this.trainable.read();
    return new Map(
      [...this.trainable.shapes].map(([name, shape]) => [name, { shape, data: values.get(name)! }]),
    );
  }

  /**
   * Stores the current weights, as `weights` returns them, here and in all later checkpoints; they replace
   * those stored before. This is how a run can return the weights of its best epoch. Waits for the GPU.
   */
  async keep(): Promise<void> {
    this.#kept = await this.weights();
  }

  /** The weights that `keep` stored, also after resuming. */
  get kept(): ReadonlyMap<string, Weight> | undefined {
    return this.#kept;
  }

  /**
   * Writes everything that `resume` needs to reach the same bits, and the caller's notes. Call it between
   * epochs, or within one from `epoch`'s `onStep`. Waits for the GPU.
   * @throws DivergedError when a loss, gradient or weight so far is not finite, and Error when a step runs
   * meanwhile; the file stays as it was.
   */
  async checkpoint(path: string, notes: Notes = {}): Promise<void> {
    const step = this.#step;
    const tensors = await this.snapshot();
    if (this.#isStepping || this.#step !== step) {
      throw new Error(
        `steps ran while the checkpoint was read, and nothing is saved to ${path}: have onStep return checkpoint's promise`,
      );
    }
    const at = { step: this.#step, batch: this.#batch, kept: this.#kept !== undefined };
    await writeCheckpoint(path, await this.#describe(), at, tensors, notes);
  }

  /** @internal The tensors of a checkpoint, read back from the GPU. */
  async snapshot(): Promise<Map<string, Weight>> {
    this.#refuseDisposed();
    await this.#readRecords();
    const records = this.#records.slice(0, this.#stepsOfEpoch(this.#step));
    const kept = [...this.#kept ?? []].map(([name, weight]) => [keptName(name), weight] as const);
    return new Map([...await this.#state(), ...recordsTensor(records), ...kept]);
  }

  /**
   * Resumes from a checkpoint of the same run, and returns its notes. The next call of `epoch` finishes the
   * epoch that was stopped, or starts the one after it.
   * @throws Error when the file is damaged, belongs to another run or has another version, and while an epoch
   * is running; nothing changes then.
   */
  async resume(path: string): Promise<Notes> {
    this.#refuseDisposed();
    return await this.#alone("a checkpoint is being read", "resume", () => this.#resume(path));
  }

  async #resume(path: string): Promise<Notes> {
    const run = await this.#describe();
    const { step, batch, kept, tensors, notes } = await readCheckpoint(
      path,
      run,
      this.steps,
      (place) => this.#sizesAt(place),
    );
    this.#restore(tensors);
    this.#step = step;
    this.#batch = batch;
    this.#optimizer.skipTo(step);
    this.#records = recordsOf(tensors, step - this.#stepsOfEpoch(step));
    this.#kept = !kept ? undefined : new Map(
      [...this.#shapes()].map(([name, shape]) => [name, { shape, data: tensors.get(keptName(name))!.data }]),
    );
    return notes;
  }

  /** The tensors that a checkpoint of this run holds at a place, with their numbers of values. */
  #sizesAt({ step, kept }: Place): Map<string, number> {
    const records = this.#stepsOfEpoch(step);
    const sizes = [...this.#shapes()].map(([name, shape]) =>
      [name, sizeOf({ shape, dtype: "f32" })] as const
    );
    return new Map([
      ...this.trainable.stateSizes,
      ...sizes.filter(([name]) => this.trainable.view(name) === undefined),
      ...records > 0 ? [[recordsName, 2 * records] as const] : [],
      ...kept ? sizes.map(([name, size]) => [keptName(name), size] as const) : [],
    ]);
  }

  /** The shapes of all tensors that `weights` returns. */
  #shapes(): Map<string, readonly number[]> {
    return new Map([...this.trainable.shapes, ...this.#ownBase?.shapes ?? []]);
  }

  /** Computed once per run, because hashing many examples takes a while. */
  #describe(): Promise<RunDescription> {
    return this.#description ??= describeRun(
      this.#gpu.traits,
      this.#model,
      this.#adapter,
      this.#objective,
      this.#options,
      this.#examples,
    );
  }

  async #state(): Promise<Map<string, Weight>> {
    return new Map([...await this.trainable.state(), ...await this.#ownBase?.read() ?? []]);
  }

  /** The planned training program for texts of `length` tokens, as text. */
  dump(length: number): Promise<string> {
    const shape = { examples: this.#options.batchSize, length, rows: 0 };
    return this.#use(shape, ({ compiled }) => compiled.dump());
  }

  #refuseDisposed(): void {
    if (this.#owned.disposed) {
      throw new Error("this trainer has been disposed of: take what is wanted of it before its scope ends");
    }
  }

  #use<T>(shape: BatchShape, body: (program: StepProgram) => T): Promise<T> {
    return this.#programs.use([keyOf(shape)], () => this.#compile(shape), body);
  }

  async #compile(shape: BatchShape): Promise<StepProgram> {
    const { seed, recompute } = this.#options;
    const { graph, losses, loss, weight, clock } = traceStep(
      this.#model,
      this.#adapter,
      this.#objective,
      shape,
      true,
      (name) => this.#weights.storage(name),
    );
    const targets = graph.nodes.filter((node) => node.source === "trainable").map((node) => node.outputs[0]);
    const accumulator = await this.#accumulatorIfNeeded();
    const gradients = separateGradients(losses, targets, recompute ? { recompute: layerOfPath } : {});
    const destinations = new Map(
      gradients.map((gradient, i) => [gradient, this.trainable.gradientView(targets[i].node.name)]),
    );
    const outputs = [loss, ...gradients, clock];
    const compiled = await compile(this.#gpu, accumulator ? [...outputs, weight] : outputs, {
      label: `train ${keyOf(shape)}`,
      weights: (name) => this.#weights.view(name),
      destinations,
      arena: this.#arena,
      epilogue: (view) =>
        accumulator
          ? [accumulator.call(view(loss), view(weight))]
          : this.#optimizer.calls(view(loss), view(clock)),
    });
    const arrays = { ...inputArrays(this.#objective, shape), clock: Uint32Array.of(seed, 0) };
    return { compiled, arrays, [Symbol.dispose]: () => compiled[Symbol.dispose]() };
  }

  async #accumulatorIfNeeded(): Promise<Accumulator | undefined> {
    if (this.#accumulationSteps === 1) return undefined;
    this.#accumulating ??= this.#createAccumulator();
    return await this.#accumulating;
  }

  async #createAccumulator(): Promise<Accumulator> {
    try {
      using owned = new DisposableStack();
      const accumulator = owned.use(await Accumulator.create(this.#gpu, this.trainable, this.#optimizer));
      this.#refuseDisposed();
      this.#owned.use(owned.move());
      return this.#accumulator = accumulator;
    } catch (error) {
      this.#accumulating = undefined;
      throw error;
    }
  }

  /** Frees everything the run has allocated. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** Splits `items` into chunks of `size`; the last one may be shorter. */
function chunksOf<T>(items: readonly T[], size: number): T[][] {
  return Array.from(
    { length: Math.ceil(items.length / size) },
    (_, i) => items.slice(i * size, (i + 1) * size),
  );
}

/** Name of the tensor that holds the current epoch's records in a checkpoint. No weight has this name. */
const recordsName = "records of the epoch";

/** Name of a kept weight in a checkpoint. */
const keptName = (name: string) => `kept ${name}`;

/**
 * The records as an f32 tensor, [steps, 2]: loss and gradient norm, as the GPU wrote them. Empty if there are
 * none.
 */
function recordsTensor(records: readonly StepRecord[]): Map<string, Weight> {
  const data = Float32Array.from(records.flatMap(({ loss, gradientNorm }) => [loss, gradientNorm]));
  return new Map(records.length > 0 ? [[recordsName, { shape: [records.length, 2], data }]] : []);
}

/** The records in a checkpoint's tensors; the first one belongs to step `first`. */
function recordsOf(tensors: ReadonlyMap<string, Weight>, first: number): StepRecord[] {
  const { shape: [count], data } = tensors.get(recordsName) ?? { shape: [0], data: new Float32Array() };
  return Array.from(
    { length: count },
    (_, i) => ({ step: first + i, loss: data[2 * i], gradientNorm: data[2 * i + 1] }),
  );
}
