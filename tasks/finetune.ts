/**
 * `deno task finetune`: trains an adapter on the user's own table, with a head, or on the user's own texts, and writes it in
 * PEFT's folder layout. `--help` lists the options.
 */

import { existsSync } from "node:fs";
import { basename } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Adapter } from "../lib/adapters/attach.ts";
import { checkSavable, saveAdapter } from "../lib/adapters/peft.ts";
import { methodByName, methods } from "../lib/adapters/registry.ts";
import { attachSystem } from "../lib/adapters/systems.ts";
import type { Targeting } from "../lib/adapters/targeting.ts";
import { loadLanguageTask } from "../lib/data/language_task.ts";
import { loadOwnTask } from "../lib/data/own_task.ts";
import type { Example, Task } from "../lib/data/task.ts";
import { isFile, writeFolder } from "../lib/files.ts";
import { Writer } from "../lib/generate/writer.ts";
import { type Gpu, openGpu } from "../lib/gpu/device.ts";
import { loadModel } from "../lib/models/load_model.ts";
import { languageExamples, type LanguageNotes } from "../lib/models/language_examples.ts";
import type { Decoder, Model, Weight } from "../lib/models/model.ts";
import { notesText } from "../lib/models/row_notes.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { fixed } from "../lib/show.ts";
import { checkTrainOptions } from "../lib/train/check_options.ts";
import { type EpochScores, fineTune, type FineTuneOptions, type Progress } from "../lib/train/fine_tune.ts";
import type { TrainOptions } from "../lib/train/trainer.ts";
import { sayingWhatIsKept } from "./divergence.ts";
import { lockFor } from "./lock.ts";
import { newFolder } from "./output.ts";
import { packingHelp, packingOf } from "./packing.ts";
import { pushHelp, pushOf } from "./push/option.ts";
import { pushFolder } from "./push/push_folder.ts";
import { leavingNothingOf } from "./stopping.ts";
import { decoderTarget, defaultTarget } from "./targets.ts";
import { suiteWarmupRatio } from "./training.ts";
import { asUsage, countIn, numberIn, printable, runCommand, UsageError } from "./usage.ts";

const help = `deno task finetune --model SOURCE --train FILE --out DIR [options]
deno task finetune --model SOURCE --train FILE --text COLUMN --label COLUMN --out DIR [options]

Fine-tunes an adapter: a decoder's on texts (.jsonl or .json of {prompt, completion}, {instruction, input, output}, {messages}
or {text}; an instruction's prompt is Alpaca's, as deno task generate --instruction writes it), or a model's with a head on a
table with a header (.tsv without quoting, like GLUE's; .csv; or .jsonl, one object per line). Prints the scores on dev after
every epoch (of texts perplexity, and a sample), and writes the last or best epoch's adapter to DIR in PEFT's layout, with the
names of a table's classes in labels.json. PEFT itself loads LoRA, rsLoRA, DoRA, HiRA and GraLoRA; the other methods load with
this library, and those that can be merged load anywhere after deno task merge.

  --model SOURCE       a decoder (LLaMA, Mistral, Qwen2, Qwen3, Gemma): a folder, a .gguf file, smollm2 (deno task models) or an
                       id of the Hugging Face hub; or an encoder (RoBERTa, XLM-RoBERTa, BERT): a folder, minilm or an id
  --unpack             unpacks a GGUF file's blocks to float32: more memory, and what DoRA, HiRA and full fine-tuning need
${packingHelp(23)}
  --train FILE         the training examples
  --dev FILE           the examples to evaluate on (default: a tenth of train, held out by a hash of the texts)
  --loss WHAT          of texts: completion: only answers are learnt (default); all: prompts too
  --text COLUMN        column of a table's text
  --pair COLUMN        column of the second text, if examples are pairs
  --label COLUMN       column of the class's name, or of the number with --regression
  --regression         the labels are numbers
  --method NAME        ${
  methods.filter(({ peft }) => peft).map(({ name }) => name).join(", ")
} (default: BoRA)
  --r N                rank (default: the method's own, for most 8)
  --alpha N            α: the update is scaled by α/r, by α/√r in rsLoRA (default: the method's own, for most 16)
  --blocks N           number of blocks of BoRA and related methods, or auto (default: the method's own; BoRA's is auto)
  --dropout P          dropout on the adapter's input (default: 0.05)
  --target NAME        target modules, by name (repeatable), or all-linear for every one (default: ${
  defaultTarget.join(" and ")
}; of
                       decoders ${decoderTarget.join(", ")})
  --learning-rate R    default: 3e-4
  --warmup-steps N     warm-up steps of the learning rate (default: a warm-up ratio of ${suiteWarmupRatio})
  --epochs N           default: 3
  --keep WHICH         last: keep the last epoch's adapter (default); best: the one with the best score on dev: accuracy,
                       pearson with --regression, or of texts perplexity
  --batch-size N       default: 32; of texts 16
  --accumulate N       batches per optimizer step (default: 1)
  --recompute          keeps only each layer's input until the backward pass: less memory, the same bits
  --max-tokens N       truncate longer texts; at most the model's positions (default: 128, of texts 256, or all if fewer)
  --seed N             default: 0
  --out DIR            a folder that does not exist yet
${pushHelp(23)}
  --resume             goes on with a run of the same options that was stopped (Ctrl-C, kill -9, a time limit), to the same bits; it
                       is kept in DIR.checkpoint until the adapter is written
  --json               prints the scores of all epochs as JSON at the end; progress goes to standard error
  --help               this text
`;

function readArguments() {
  const { values } = parseArgs({
    options: {
      model: { type: "string" },
      train: { type: "string" },
      dev: { type: "string" },
      text: { type: "string" },
      pair: { type: "string" },
      label: { type: "string" },
      regression: { type: "boolean", default: false },
      method: { type: "string", default: "BoRA" },
      r: { type: "string" },
      alpha: { type: "string" },
      blocks: { type: "string" },
      dropout: { type: "string", default: "0.05" },
      target: { type: "string", multiple: true },
      unpack: { type: "boolean", default: false },
      packing: { type: "string" },
      loss: { type: "string" },
      accumulate: { type: "string", default: "1" },
      recompute: { type: "boolean", default: false },
      "learning-rate": { type: "string", default: "3e-4" },
      "warmup-steps": { type: "string" },
      epochs: { type: "string", default: "3" },
      keep: { type: "string", default: "last" },
      "batch-size": { type: "string" },
      "max-tokens": { type: "string" },
      seed: { type: "string", default: "0" },
      out: { type: "string" },
      push: { type: "string" },
      resume: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  return values;
}

type Arguments = ReturnType<typeof readArguments>;

/** The value of a required option. */
function required(values: Arguments, name: "model" | "train" | "text" | "label" | "out"): string {
  const value = values[name];
  if (value === undefined) throw new UsageError(`--${name} is missing; see --help`);
  return value;
}

function numberOf(values: Arguments, name: keyof Arguments): number {
  return numberIn(name, values[name] as string);
}

function countOf(values: Arguments, name: keyof Arguments, least: number): number {
  return countIn(name, values[name] as string, least);
}

/**
 * The maximum length in tokens: what is asked for, otherwise what is usual, or all of the model's positions if those
 * are fewer. Throws a UsageError when the model has fewer positions than asked for.
 */
function maxTokensOf(
  { name, maxTokens: most = Infinity }: Model,
  asked: number | undefined,
  usual: number,
): number {
  if (asked === undefined) return Math.min(usual, most);
  if (asked <= most) return asked;
  throw new UsageError(
    `--max-tokens is ${asked}, and ${name} has positions for ${most} tokens: use ${most} or fewer`,
  );
}

/** The adapter that the command line describes: the method's defaults, changed by the options, with dropout. */
function adapterOf(model: Model, values: Arguments): Adapter {
  const { method } = values;
  const given = (["r", "alpha", "blocks"] as const).filter((name) => values[name] !== undefined);
  const options = Object.fromEntries(
    given.map((name) => [name, values[name] === "auto" ? "auto" : numberOf(values, name)]),
  );
  const system = { label: method, method, options };
  const adapter = attachSystem(
    model,
    system,
    { target: targetOf(model, values) },
    numberOf(values, "dropout"),
  );
  checkSavable(model, adapter);
  return adapter;
}

/** The layers to adapt. Throws a UsageError for names beside all-linear, which has them. */
function targetOf({ language }: Model, { target }: Arguments): Targeting["target"] {
  if (!target?.includes("all-linear")) return target ?? (language ? decoderTarget : defaultTarget);
  if (target.length === 1) return "all-linear";
  throw new UsageError("--target all-linear is every linear layer: leave the other targets out");
}

function keepOf({ keep }: Arguments): "best" | "last" {
  if (keep === "best" || keep === "last") return keep;
  throw new UsageError(`--keep wants best or last, not "${keep}"`);
}

function optionsOf(values: Arguments): TrainOptions & Pick<FineTuneOptions, "keep"> {
  const training = {
    learningRate: numberOf(values, "learning-rate"),
    epochs: countOf(values, "epochs", 1),
    batchSize: values["batch-size"] === undefined
      ? isTable(values) ? 32 : 16
      : countOf(values, "batch-size", 1),
    accumulationSteps: countOf(values, "accumulate", 1),
    recompute: values.recompute,
    seed: countOf(values, "seed", 0),
    ...values["warmup-steps"] === undefined
      ? { warmupRatio: suiteWarmupRatio }
      : { warmupSteps: countOf(values, "warmup-steps", 0) },
  };
  asUsage(() => checkTrainOptions(training));
  return { ...training, keep: keepOf(values) };
}

/** Whether the examples are a table's rows, and not texts that go on. */
function isTable({ text, pair, label, regression }: Arguments): boolean {
  return regression || [text, pair, label].some((column) => column !== undefined);
}

/** Which of texts' tokens are learnt. Throws a UsageError for a loss that is none, and beside a table. */
function lossOf(values: Arguments): "completion" | "all" {
  const { loss = "completion" } = values;
  if (values.loss !== undefined && isTable(values)) {
    throw new UsageError("--loss is for texts, and a table's labels have a loss of their own: leave it out");
  }
  if (loss === "completion" || loss === "all") return loss;
  throw new UsageError(`--loss wants completion or all, not "${loss}"`);
}

/** What is learnt. Throws what reading it throws. */
async function taskOf(model: Model, values: Arguments, loss: "completion" | "all"): Promise<Task> {
  const { dev, pair, regression } = values;
  const train = required(values, "train");
  const asked = values["max-tokens"] === undefined ? undefined : countOf(values, "max-tokens", 3);
  if (isTable(values)) {
    if (model.language) {
      throw new UsageError(
        `${model.name} is a decoder, and a decoder's adapter has no head: give rows of {prompt, completion} without --text and ` +
          "--label, or an encoder",
      );
    }
    const [text, label] = (["text", "label"] as const).map((name) => required(values, name));
    return await loadOwnTask({
      train,
      dev,
      text,
      pair,
      label,
      regression,
      maxTokens: maxTokensOf(model, asked, 128),
    });
  }
  if (!model.language) {
    throw new UsageError(`${model.name} is no decoder: name the table's columns by --text and --label`);
  }
  return await loadLanguageTask({ train, dev, loss, maxTokens: maxTokensOf(model, asked, 256) });
}

/** A prompt of the rows to evaluate on, and how the model goes on from it. */
async function sampleText(
  gpu: Gpu,
  model: Decoder,
  adapter: Adapter,
  frozen: FrozenWeights,
  trained: ReadonlyMap<string, Weight>,
  prompt: readonly number[],
): Promise<string> {
  using writer = new Writer({ gpu, model, adapter, weights: trained, frozen });
  const maxTokens = Math.min(32, model.maxTokens! - prompt.length);
  const [{ text }] = await writer.write([prompt], { maxTokens });
  return `sample: ${printable(model.language.tokenizer.decode(prompt))} → ${printable(text)}`;
}

function scoresText({ epoch, trainLoss, metrics }: EpochScores): string {
  const scores = Object.entries(metrics).map(([name, score]) => `${name} ${fixed(score, 4)}`);
  return `epoch ${epoch + 1}: loss ${trainLoss.toFixed(4)}, ${scores.join(", ")}`;
}

/** Tokens of a whole text that its sample goes on from. */
const firstTokens = 8;

/** What samples go on from: the prompt of the first of these examples that is not left out, or a text's first tokens. */
async function promptOf(
  { language }: Decoder,
  task: Task,
  all: readonly Example[],
): Promise<readonly number[]> {
  const { loss = "completion", maxTokens } = task;
  const rows = all.map(({ row }) => row!);
  const { tokenizer, templates } = language;
  const { examples: [first] } = await languageExamples(rows, tokenizer, templates, { loss, maxTokens });
  return first.ids.slice(0, Math.min(first.promptLength || firstTokens, first.ids.length - 1));
}

/** Steps between the states from which a run can go on. */
const checkpointEvery = 50;

/** Where a run is kept until it ends. Throws a UsageError when one is there, and going on with it is not asked for. */
async function checkpointFor(out: string, resume: boolean): Promise<string> {
  const path = `${out}.checkpoint`;
  if (resume || !await isFile(path)) return path;
  throw new UsageError(
    `${path} is of a run that was stopped: --resume goes on with it; remove the file to start anew`,
  );
}

/** What the adapter's card says of the data: names of files, and not where they lie. */
function dataOf({ name, loss }: Task, { dev }: Arguments) {
  return { data: name, dev: dev === undefined ? `the held-out tenth of ${name}` : basename(dev), loss };
}

/** Where a run was stopped, and how it goes on. `at` says how many steps of how many it has taken, once it takes some. */
function lastWords(checkpoint: string, resume: boolean, at: string | undefined): string {
  const where = at === undefined ? "Stopped before its first step" : `Stopped after step ${at}`;
  if (!existsSync(checkpoint)) return `${where}. No checkpoint is there yet: the same command starts anew.`;
  const again = resume ? "The same command" : "The same command with --resume";
  return `${where}. ${again} goes on from the last checkpoint, ${checkpoint}.`;
}

async function main(): Promise<void> {
  const values = asUsage(readArguments);
  if (values.help) return console.log(help);
  const needed = ["model", "train", ...isTable(values) ? ["text", "label"] as const : [], "out"] as const;
  for (const name of needed) required(values, name);
  const options = optionsOf(values);
  const loss = lossOf(values);
  asUsage(() => methodByName(values.method));
  const packing = packingOf(values.packing);
  const destination = await pushOf(values.push, "adapter");
  const out = await newFolder(required(values, "out"));
  using lock = await lockFor(out);
  const checkpoint = await checkpointFor(out, values.resume);
  let at: string | undefined;
  using stopping = leavingNothingOf(out, lock, () => lastWords(checkpoint, values.resume, at));
  const model = await loadModel(required(values, "model"), { unpack: values.unpack, packing });
  const adapter = asUsage(() => adapterOf(model, values));
  const task = await taskOf(model, values, loss);
  const split = await task.load();
  const say = values.json ? console.error : console.log;
  say(
    `${split.train.length} examples to train on, ${split.dev.length} to evaluate on` +
      (task.labels.length === 0 ? "" : `; classes ${printable(task.labels.join(", "))}`),
  );
  if (await isFile(checkpoint)) say(`goes on from ${checkpoint}`);
  using gpu = await openGpu();
  using frozen = FrozenWeights.forTraining(gpu, model);
  const prompt = task.objective === "language" ? await promptOf(model as Decoder, task, split.dev) : [];
  const onScores: Progress["onScores"] = async (scores, trained) => {
    say(scoresText(scores));
    if (prompt.length === 0) return;
    say(await sampleText(gpu, model as Decoder, adapter, frozen, await trained(), prompt));
  };
  const onRows = (notes: LanguageNotes, set: string) =>
    notesText(notes, set).forEach((line) => say(printable(line)));
  const onStep = (step: number, steps: number) => {
    at = `${step} of ${steps}`;
    // Deno takes signals only while it waits for something.
    return pause(0);
  };
  const checkpointing = { path: checkpoint, every: checkpointEvery, cell: "finetune" };
  const watch = { onStep, onScores, onRows };
  const { trained, kept, epochs } = await sayingWhatIsKept(
    () => fineTune({ gpu, model, frozen, adapter, task, split, checkpointing, ...watch, ...options }),
    () => `Nothing is written to ${out}.`,
  );
  await writeFolder(out, async (folder) => {
    const examples = { train: split.train.length, dev: split.dev.length };
    const training = { ...dataOf(task, values), examples, options, kept, keep: options.keep };
    await saveAdapter(folder, model, adapter, trained, task, { training });
  });
  await Deno.remove(checkpoint);
  if (options.keep === "best") {
    say(`kept: epoch ${kept.epoch + 1} of ${options.epochs}, the best by ${task.metrics[0]}`);
  }
  const head = task.objective === "language" ? "" : ", and its head";
  say(`${adapter.method.name} with ${adapter.trainableParameters} parameters${head}: ${out}`);
  if (values.json) {
    const examples = { train: split.train.length, dev: split.dev.length };
    const { method, options: methodOptions, trainableParameters } = adapter;
    const made = { out, model: model.name, method: method.name, options: methodOptions, trainableParameters };
    console.log(
      JSON.stringify({ ...made, labels: task.labels, examples, epochs, kept: kept.epoch }, null, 1),
    );
  }
  if (!destination) return;
  // What is written stays from now on.
  stopping[Symbol.dispose]();
  await pushFolder(out, destination, say);
}

await runCommand(main);
