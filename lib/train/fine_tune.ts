/** Trains one method on one task with one seed, and evaluates it after every epoch: one cell of a table. */

import type { Adapter } from "../adapters/attach.ts";
import type { LanguageRow } from "../data/language_rows.ts";
import type { Example, Split, Task } from "../data/task.ts";
import type { Gpu } from "../gpu/device.ts";
import { languageExamples, type LanguageNotes } from "../models/language_examples.ts";
import { notesText } from "../models/row_notes.ts";
import type { Model, Weight } from "../models/model.ts";
import { languageOf } from "../objectives/language.ts";
import type { Encoded, Objective } from "../objectives/objective.ts";
import { objectiveOf } from "../objectives/registry.ts";
import { faultOfClass } from "../objectives/text_head.ts";
import { FrozenWeights } from "../run/frozen_weights.ts";
import { DivergedError, type StepRecord } from "./adamw.ts";
import { CellCheckpoint, checkCheckpointing, type Checkpointing } from "./cell_checkpoint.ts";
import { checkTrainOptions } from "./check_options.ts";
import { checkParts } from "./check_parts.ts";
import {
  type Answers,
  ask,
  decoderOf,
  devSetsOf,
  isAsked,
  type Predictions,
  rehearse,
  type Scores,
  scoresOf,
} from "./evaluate.ts";
import { faultOfMetric, isLowerBetter, metricNames } from "./metrics.ts";
import { headSize } from "./trained_tensors.ts";
import { Trainer, type TrainOptions } from "./trainer.ts";

/** What `fineTune` trains, on what, and how. */
export interface FineTuneOptions extends TrainOptions, Progress {
  /** Where to train (`openGpu`). */
  readonly gpu: Gpu;
  /** The model that the adapter is attached to. */
  readonly model: Model;
  /** What is trained (`attach`). */
  readonly adapter: Adapter;
  /** What to learn (`taskByName`, `loadOwnTask`, `glueTask`, …). */
  readonly task: Task;
  /** The examples to train and to evaluate on; by default all of the task's (`task.load()`). */
  readonly split?: Split;
  /** The model's weights, if they are on the GPU already; by default they are uploaded for this run. */
  readonly frozen?: FrozenWeights;
  /** With this, a stopped run goes on from its last checkpoint and ends with the same bits. */
  readonly checkpointing?: Checkpointing;
  /**
   * Which weights to return: the last epoch's (the default), or those of the first epoch with the best
   * headline metric on dev.
   */
  readonly keep?: "best" | "last";
}

/** Loss and scores of one epoch. */
export interface EpochScores {
  /** Counted from 0. */
  readonly epoch: number;
  /** Mean loss of its steps. */
  readonly trainLoss: number;
  /** Metrics on dev after the epoch. */
  readonly metrics: Scores;
}

/** The result of `fineTune`. */
export interface FineTuned {
  /** Loss and dev metrics of every epoch. */
  readonly epochs: readonly EpochScores[];
  /** Metrics of the epoch with the best headline metric. */
  readonly best: Scores;
  /** Metrics of the last epoch. */
  readonly last: Scores;
  /** Predictions after the last epoch. */
  readonly predictions: Predictions;
  /** Trainable parameters of the head. */
  readonly headParameters: number;
  /** Optimizer steps taken. */
  readonly steps: number;
  /** Seconds spent on building the programs. */
  readonly compileSeconds: number;
  /**
   * Seconds spent on steps and on saving checkpoints. For a resumed run: the time up to its checkpoint plus
   * the time after it.
   */
  readonly trainSeconds: number;
  /** Peak bytes in GPU buffers. */
  readonly peakBufferBytes: number;
  /** The epoch that `trained` comes from. */
  readonly kept: EpochScores;
  /** All trained tensors after that epoch (see `Trainer.weights`). */
  readonly trained: ReadonlyMap<string, Weight>;
}

/** Callbacks that report a run's progress. */
export interface Progress {
  /** Called after each step's submit, and awaited. It must not wait for the GPU. */
  onStep?(step: number, steps: number): unknown;
  /** Called after an epoch's steps, before its evaluation. */
  onEpoch?(records: readonly StepRecord[]): void;
  /** Called after an epoch's evaluation, and awaited; `trained` reads the weights as they are now. */
  onScores?(scores: EpochScores, trained: () => Promise<ReadonlyMap<string, Weight>>): unknown;
  /**
   * Of a language task: called with what should be known of a set's rows, before training; by default `console.warn` tells of those
   * that are left out, cut, or otherwise not what they seem.
   */
  onRows?(notes: LanguageNotes, set: string): void;
}

/**
 * Token ids, cut to the task's limit: a sequence a text, or, where the model takes pairs as one sequence, one that joins the
 * first text with each of the others (the two of a pair, a question with each of its options).
 * @throws Error that names the example that the model's tokenizer cannot take, which for a file's is the file and line.
 */
export function encodeExamples(model: Model, task: Task, examples: readonly Example[]): Encoded[] {
  return examples.map((example) => {
    try {
      return encodeExample(model, task, example);
    } catch (error) {
      throw new Error(`${example.id}: ${(error as Error).message}`, { cause: error });
    }
  });
}

function encodeExample({ pairing }: Model, { maxTokens }: Task, { texts, label }: Example): Encoded {
  if (texts.length === 0) throw new Error("the example has no texts");
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1) {
    throw new Error(`the task's maxTokens is ${maxTokens}: use a whole number from 1`);
  }
  const sequences = pairing.encode(texts, maxTokens);
  const encoded = { label, texts: sequences.map(({ ids }) => ids) };
  const areJoined = sequences.length < texts.length;
  return areJoined ? { ...encoded, seconds: sequences.map(({ second }) => second) } : encoded;
}

/**
 * The examples of a language task, those left out of which nothing can be learnt within the task's limit.
 * @throws Error as `languageExamples` does, and when `model` is no causal model.
 */
export async function encodeRows(
  model: Model,
  { maxTokens, loss = "completion", continuations }: Task,
  examples: readonly Example[],
  report: (notes: LanguageNotes) => void = () => {},
): Promise<Encoded[]> {
  const { tokenizer, templates } = languageOf(model);
  // Of continuations only what is scored is learnt: a model that does not expect the end of a text there would learn little else.
  const ends = continuations ? { ends: false } : {};
  const rows = examples.map(({ id, texts: [prompt, completion], row }): LanguageRow =>
    row ?? { kind: "completion", where: id, prompt, completion, ...ends }
  );
  const most = Math.min(maxTokens, model.maxTokens ?? Infinity);
  const encoded = await languageExamples(rows, tokenizer, templates, { loss, maxTokens: most });
  report(encoded.notes);
  return encoded.examples.map(({ ids, labelled }) => ({
    texts: [ids],
    labelled,
    label: labelled.filter((isLearnt, place) => isLearnt && place > 0).length,
  }));
}

/**
 * Fine-tunes `adapter` on a task and evaluates it after every epoch. Metrics on further dev sets have the
 * set's name appended, such as `accuracy mismatched`.
 *
 * @throws Error when an option or an example cannot be trained with, when the split has no examples to train
 * or to evaluate on, and when the checkpoint is damaged or belongs to another run (the file stays as it is);
 * DivergedError when a loss, gradient or prediction is not finite.
 *
 * @example
 * ```ts
 * import { attach, fineTune, loadUseLite, lora, openGpu, taskByName } from "@bora/webgpu";
 *
 * using gpu = await openGpu();
 * const model = await loadUseLite();
 * const task = taskByName("sentiment");
 * const { train, dev } = await task.load();
 * const adapter = attach(model, lora, { r: 8, target: ["query", "value"] });
 * const options = { learningRate: 3e-3, epochs: 1, batchSize: 16, warmupRatio: 0, seed: 0 };
 * const split = { train: train.slice(0, 16), dev: dev.slice(0, 16) };
 * const { last } = await fineTune({ gpu, model, adapter, task, split, ...options });
 * console.log(last.accuracy);
 * ```
 */
export async function fineTune(
  { gpu, model, adapter, task, split: given, frozen, keep = "last", checkpointing, ...rest }: FineTuneOptions,
): Promise<FineTuned> {
  const { onStep, onEpoch, onScores, onRows = warnOfRows, ...options } = rest;
  checkTrainOptions(options, "fineTune", [...needed, ...optional]);
  checkParts("fineTune", { gpu, model, adapter, task }, needed);
  checkTask(task);
  if (checkpointing) checkCheckpointing(checkpointing);
  const split = given ?? await task.load();
  if (keep !== "best" && keep !== "last") throw new Error(`keep is ${keep}: use "best" or "last"`);
  if (split.train.length === 0) throw new Error("no training examples");
  if ([split.dev, ...Object.values(split.furtherDev ?? {})].some((set) => set.length === 0)) {
    throw new Error("no examples to evaluate on: hold some of train out");
  }
  if (split.furtherDev && "dev" in split.furtherDev) {
    throw new Error('a further dev set is named "dev", which is the main one: give it another name');
  }
  const objective = objectiveOf(model, task, split.train[0]);
  const encode = async (set: string, examples: readonly Example[]) =>
    task.objective === "language"
      ? await encodeRows(model, task, examples, (notes) => onRows(notes, set))
      : encodeExamples(model, task, examples);
  const train = await encode("train", split.train);
  const dev: DevSet[] = [];
  for (const [name, examples] of Object.entries(devSetsOf(split))) {
    dev.push(
      isAsked(task)
        ? askedSet(name, examples, task.continuations?.length)
        : encodedSet(objective, name, await encode(name, examples)),
    );
  }
  if (isAsked(task)) await rehearse(task, split, gpu, decoderOf(model), options.batchSize);
  using uploaded = new DisposableStack();
  // The trainer and a Writer share the model's weights.
  const base = frozen ?? (isAsked(task) ? uploaded.use(FrozenWeights.forTraining(gpu, model)) : undefined);
  using trainer = new Trainer({ gpu, model, adapter, objective, examples: train, frozen: base, ...options });
  const checkpoint = checkpointing &&
    await CellCheckpoint.open(trainer, checkpointing, examplesOf(dev), scoringOf(task, dev), keep);
  const start = performance.now();
  await trainer.prepare(dev.flatMap(({ examples }) => examples));
  const compileSeconds = (performance.now() - start) / 1000;
  const answers = isAsked(task)
    ? async () => {
      const parts = { gpu, model: decoderOf(model), adapter, weights: await trainer.weights(), frozen: base };
      return await ask(task, split, parts, options.batchSize);
    }
    : async () => ({ predictions: await predictionsOn(trainer, objective, dev), further: {} });
  const labels = Object.fromEntries(dev.map(({ name, labels }) => [name, labels]));
  const evaluation: Evaluation = {
    answers,
    scores: ({ predictions, further }) => ({ ...scoresOf(task, labels, predictions), ...further }),
  };
  const plan = { epochs: options.epochs, keep };
  const { epochs, trainSeconds, predictions } = await runEpochs(
    trainer,
    task,
    evaluation,
    plan,
    { onStep, onEpoch, onScores },
    checkpoint,
  );
  const [best, last] = [bestOf(task, epochs), epochs.at(-1)!];
  return {
    epochs,
    best: best.metrics,
    last: last.metrics,
    predictions,
    headParameters: headSize(objective),
    steps: trainer.steps,
    compileSeconds,
    trainSeconds,
    peakBufferBytes: gpu.memory.peakBytes,
    kept: keep === "best" ? best : last,
    trained: trainer.kept ?? await trainer.weights(),
  };
}

function warnOfRows(notes: LanguageNotes, set: string): void {
  for (const line of notesText(notes, set)) console.warn(line);
}

/** What `fineTune` cannot do without. */
const needed = ["gpu", "model", "adapter", "task"] as const;

/** Its options beside those of training. */
const optional = ["split", "frozen", "keep", "checkpointing", "onStep", "onEpoch", "onScores", "onRows"];

/** Throws an Error when a task cannot be scored, or its classes cannot be told apart by their names, under which they are saved. */
function checkTask(task: Task): void {
  const { name, metrics, objective, labels } = task;
  if (metrics.length === 0) throw new Error(`the task ${name} has no metrics: name at least one`);
  const unknown = metrics.find((metric) => !metricNames.includes(metric));
  if (unknown) {
    throw new Error(`the task ${name} has the metric "${unknown}"; there are ${metricNames.join(", ")}`);
  }
  const fault = metrics.map((metric) => faultOfMetric(metric, predictedOf(task))).find((text) => text);
  if (fault) throw new Error(`the task ${name} cannot be scored by its metrics: ${fault}`);
  const twice = labels.find((label, i) => labels.indexOf(label) !== i);
  if (objective === "classification" && twice !== undefined) {
    throw new Error(`the task ${name} has two classes "${twice}": give each a name of its own`);
  }
}

/** What is predicted for a task's dev sets. */
function predictedOf(task: Task) {
  const { objective, labels, continuations = labels } = task;
  const kind = objective === "regression"
    ? "numbers"
    : objective === "language" && !isAsked(task)
    ? "likelihoods"
    : "classes";
  return { kind, classes: continuations.length } as const;
}

/** A dev set. */
interface DevSet {
  readonly name: string;
  readonly labels: readonly number[];
  /** What the trainer predicts. */
  readonly examples: readonly Encoded[];
  /** What a `Writer` is asked. */
  readonly asked?: readonly (readonly string[])[];
}

/** A set that the trainer predicts. Throws an Error that names the first example whose label the objective cannot have. */
function encodedSet(objective: Objective, name: string, examples: readonly Encoded[]): DevSet {
  for (const [i, example] of examples.entries()) {
    const fault = objective.faultOf(example);
    if (fault) throw new Error(`${name}, example ${i}: ${fault}`);
  }
  return { name, examples, labels: examples.map(({ label }) => label) };
}

/** A set that is asked, with `count` answers. Throws an Error that names the first example whose label is none of them. */
function askedSet(name: string, examples: readonly Example[], count = Infinity): DevSet {
  for (const [i, { label }] of examples.entries()) {
    const fault = faultOfClass(label, count);
    if (fault) throw new Error(`${name}, example ${i}: ${fault}`);
  }
  return {
    name,
    labels: examples.map(({ label }) => label),
    examples: [],
    asked: examples.map(({ texts }) => texts),
  };
}

/** What is predicted, for checkpoints. */
function examplesOf(dev: readonly DevSet[]): unknown {
  return dev.map(({ name, examples, asked }) => ({ name, examples, asked }));
}

/** What the scores of predictions follow from, for checkpoints. */
function scoringOf({ metrics, continuations, tests }: Task, dev: readonly DevSet[]): unknown {
  return { metrics, continuations, tests, labels: dev.map(({ labels }) => labels) };
}

/** How a run is evaluated after its epochs. */
interface Evaluation {
  /** Predicts the dev sets with the current weights. */
  answers(): Promise<Answers>;
  scores(answers: Answers): Scores;
}

/** Trains and evaluates the epochs that the checkpoint lacks, and returns the results of all epochs. */
async function runEpochs(
  trainer: Trainer,
  task: Task,
  { answers, scores }: Evaluation,
  { epochs: planned, keep }: Pick<FineTuneOptions, "epochs" | "keep">,
  progress: Progress,
  checkpoint: CellCheckpoint | undefined,
): Promise<Pick<FineTuned, "epochs" | "trainSeconds" | "predictions">> {
  let found: Answers | undefined;
  const epochs: EpochScores[] = [...checkpoint?.saved?.epochs ?? []];
  let trainSeconds = checkpoint?.saved?.trainSeconds ?? 0;
  for (let epoch = epochs.length; epoch < planned; epoch++) {
    const started = performance.now();
    const secondsNow = () => trainSeconds + (performance.now() - started) / 1000;
    const lastStep = (epoch + 1) * trainer.steps / planned;
    const records = await trainer.epoch(async (step) => {
      await progress.onStep?.(step, trainer.steps);
      // The last step of an epoch is saved after the evaluation, together with the scores.
      if (step < lastStep) await checkpoint?.saveIfDue(step, { epochs, trainSeconds: secondsNow() });
    });
    trainSeconds = secondsNow();
    progress.onEpoch?.(records);
    const trainLoss = records.reduce((sum, { loss }) => sum + loss, 0) / records.length;
    found = await answers();
    epochs.push({ epoch, trainLoss, metrics: scores(found) });
    if (keep === "best" && bestOf(task, epochs) === epochs.at(-1)) await trainer.keep();
    await progress.onScores?.(epochs.at(-1)!, () => trainer.weights());
    await checkpoint?.save({ epochs, trainSeconds });
  }
  // A run that was stopped after its last epoch has the scores in its checkpoint, but no predictions.
  found ??= await answers();
  return { epochs, trainSeconds, predictions: found.predictions };
}

/**
 * The predictions on every dev set, with the current weights. Throws a DivergedError when one is not finite: the last step of an
 * epoch can break the weights, and no loss comes after it that would tell.
 */
async function predictionsOn(
  trainer: Trainer,
  objective: Objective,
  dev: readonly DevSet[],
): Promise<Predictions> {
  const predictions: Record<string, number[]> = {};
  for (const { name, examples } of dev) {
    predictions[name] = (await trainer.predict(examples)).map((row, i) => {
      if (row.every(Number.isFinite)) return objective.decide(row);
      throw new DivergedError(
        `${name}, example ${i}: the model predicts ${
          row.join(", ")
        } after the epoch: use a lower learning rate or look at the data.`,
      );
    });
  }
  return predictions;
}

/** The epoch with the best headline metric; the first of several. */
function bestOf({ metrics: [headline] }: Task, epochs: readonly EpochScores[]): EpochScores {
  const sign = isLowerBetter(headline) ? -1 : 1;
  return epochs.reduce((a, b) => sign * b.metrics[headline] > sign * a.metrics[headline] ? b : a);
}

/**
 * The share of the most frequent label. For regression 0, which is the score of a constant prediction. Throws an Error for no
 * examples.
 */
export function majorityBaseline(task: Task, examples: readonly Example[]): number {
  if (examples.length === 0) throw new Error(`no examples of ${task.name}: no label is the most frequent`);
  if (task.objective === "regression") return 0;
  const counts = new Map<number, number>();
  for (const { label } of examples) counts.set(label, (counts.get(label) ?? 0) + 1);
  return Math.max(...counts.values()) / examples.length;
}
