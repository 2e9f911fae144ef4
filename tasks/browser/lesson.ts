/** Trains an adapter of a decoder on a few rows of text and reports progress; in a browser or in Deno. */

import type { Adapter } from "../../lib/adapters/attach.ts";
import { checkSavable } from "../../lib/adapters/peft.ts";
import { attachSystem } from "../../lib/adapters/systems.ts";
import { loadLanguageTask } from "../../lib/data/language_task.ts";
import { FilesInMemory } from "../../lib/files_in_memory.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import type { LanguageNotes } from "../../lib/models/language_examples.ts";
import type { Decoder, Weight } from "../../lib/models/model.ts";
import type { Encoded, Objective } from "../../lib/objectives/objective.ts";
import { objectiveOf } from "../../lib/objectives/registry.ts";
import type { FrozenWeights } from "../../lib/run/frozen_weights.ts";
import { encodeRows } from "../../lib/train/fine_tune.ts";
import { Trainer } from "../../lib/train/trainer.ts";
import { decoderTarget } from "../targets.ts";
import { type StepReport, trainSteps } from "./train_steps.ts";

/** Of the data order, the dropout masks and the initial values. */
const seed = 0;

/** What is learnt, and how. */
export interface LessonSettings {
  /** The rows to learn, as the content of a .jsonl file. */
  readonly examples: string;
  /** Longer rows are cut. */
  readonly maxTokens: number;
  /** The method's name. */
  readonly method: string;
  readonly learningRate: number;
  readonly batchSize: number;
  readonly epochs: number;
}

/** An adapter, and what it is to learn. */
export interface Lesson extends LessonSettings {
  readonly model: Decoder;
  readonly adapter: Adapter;
  readonly objective: Objective;
  readonly encoded: readonly Encoded[];
  readonly notes: LanguageNotes;
  /** Steps of the training. */
  readonly steps: number;
}

/** Callbacks that report progress. */
export interface LessonWatch {
  /** Called while programs are compiled. */
  onProgram?(done: number, total: number): void;
  onStep?(report: StepReport): void;
}

/** What has been learnt. */
export interface Learnt {
  /** Of every step. */
  readonly losses: readonly number[];
  readonly trained: ReadonlyMap<string, Weight>;
}

/** Attaches the method and reads the rows. Throws an Error that names the row or the option that does not do. */
export async function makeLesson(model: Decoder, settings: LessonSettings): Promise<Lesson> {
  const { method, maxTokens, batchSize, epochs } = settings;
  const adapter = attachSystem(
    model,
    { label: method, method, options: {} },
    { target: decoderTarget },
    0.05,
  );
  checkSavable(model, adapter);
  using files = new FilesInMemory("page", { "examples.jsonl": settings.examples });
  const path = `${files.path}/examples.jsonl`;
  const task = await loadLanguageTask({ train: path, dev: path, maxTokens });
  const { train } = await task.load();
  const found: LanguageNotes[] = [];
  const encoded = await encodeRows(model, task, train, (notes) => found.push(notes));
  const steps = Math.ceil(encoded.length / batchSize) * epochs;
  return {
    ...settings,
    model,
    adapter,
    encoded,
    steps,
    notes: found[0],
    objective: objectiveOf(model, task, train[0]),
  };
}

/** Trains the adapter. Throws what `Trainer` throws. */
export async function learn(
  gpu: Gpu,
  frozen: FrozenWeights,
  lesson: Lesson,
  watch: LessonWatch = {},
): Promise<Learnt> {
  const { model, adapter, objective, encoded: examples, learningRate, batchSize, epochs } = lesson;
  const options = { learningRate, epochs, batchSize, warmupRatio: 0.03, seed };
  using trainer = new Trainer({ gpu, model, adapter, objective, examples, frozen, ...options });
  await trainer.prepare([], (done, total) => watch.onProgram?.(done, total));
  const plan = { examples, batchSize, epochs, seed };
  const losses = await trainSteps(trainer, plan, (report) => watch.onStep?.(report));
  return { losses, trained: await trainer.weights() };
}
