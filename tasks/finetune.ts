/**
 * `deno task finetune`: trains an adapter and a head on the user's own table, and writes them in PEFT's
 * folder layout. `--help` lists the options.
 */

import { parseArgs } from "node:util";
import type { Adapter } from "../lib/adapters/attach.ts";
import { checkSavable, saveAdapter } from "../lib/adapters/peft.ts";
import { methodByName, methods } from "../lib/adapters/registry.ts";
import { attachSystem } from "../lib/adapters/systems.ts";
import { loadOwnTask } from "../lib/data/own_task.ts";
import { writeFolder } from "../lib/files.ts";
import { openGpu } from "../lib/gpu/device.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import type { Model } from "../lib/models/model.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { checkTrainOptions } from "../lib/train/check_options.ts";
import { type EpochScores, fineTune, type FineTuneOptions } from "../lib/train/fine_tune.ts";
import type { TrainOptions } from "../lib/train/trainer.ts";
import { sayingWhatIsKept } from "./divergence.ts";
import { lockFor } from "./lock.ts";
import { newFolder } from "./output.ts";
import { defaultTarget } from "./run_cell.ts";
import { suiteWarmupRatio } from "./training.ts";
import { asUsage, printable, runCommand, UsageError } from "./usage.ts";

const help = `deno task finetune --model SOURCE --train FILE --text COLUMN --label COLUMN --out DIR [options]

Fine-tunes an adapter and a head on a table with a header (.tsv without quoting, like GLUE's; .csv; or .jsonl, one object
per line). Prints the scores on dev after every epoch, and writes the last or best epoch's adapter to DIR in PEFT's layout,
with the names of the classes in labels.json. PEFT itself loads LoRA, rsLoRA, DoRA, HiRA and GraLoRA; the other methods load
with this library, and those that can be merged load anywhere after deno task merge.

  --model SOURCE       RoBERTa, XLM-RoBERTa or BERT: a folder, minilm (deno task models), or an id of the Hugging Face hub
  --train FILE         the training examples
  --dev FILE           the examples to evaluate on (default: a tenth of train, held out by a hash of the texts)
  --text COLUMN        column of the text
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
  --target NAME        target modules, by name (repeatable; default: ${defaultTarget.join(" and ")})
  --learning-rate R    default: 3e-4
  --warmup-steps N     warm-up steps of the learning rate (default: a warm-up ratio of ${suiteWarmupRatio})
  --epochs N           default: 3
  --keep WHICH         last: keep the last epoch's adapter (default); best: the one with the best score on dev: accuracy, or
                       pearson with --regression
  --batch-size N       default: 32
  --max-tokens N       truncate longer texts; at most the model's positions (default: 128, or all positions if fewer)
  --seed N             default: 0
  --out DIR            a folder that does not exist yet
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
      target: { type: "string", multiple: true, default: defaultTarget },
      "learning-rate": { type: "string", default: "3e-4" },
      "warmup-steps": { type: "string" },
      epochs: { type: "string", default: "3" },
      keep: { type: "string", default: "last" },
      "batch-size": { type: "string", default: "32" },
      "max-tokens": { type: "string" },
      seed: { type: "string", default: "0" },
      out: { type: "string" },
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
  const text = values[name] as string;
  if (text.trim() !== "" && Number.isFinite(Number(text))) return Number(text);
  throw new UsageError(`--${name} wants a number, not "${text}"`);
}

function countOf(values: Arguments, name: keyof Arguments, least: number): number {
  const value = numberOf(values, name);
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new UsageError(`--${name} wants a whole number from ${least}, not ${value}`);
}

/**
 * The maximum length in tokens: what is asked for, otherwise 128, or all of the model's positions if those
 * are fewer. Throws a UsageError when the model has fewer positions than asked for.
 */
function maxTokensOf({ name, maxTokens: most = Infinity }: Model, asked: number | undefined): number {
  if (asked === undefined) return Math.min(128, most);
  if (asked <= most) return asked;
  throw new UsageError(
    `--max-tokens is ${asked}, and ${name} has positions for ${most} tokens: use ${most} or fewer`,
  );
}

/** The adapter that the command line describes: the method's defaults, changed by the options, with dropout. */
function adapterOf(model: Model, values: Arguments): Adapter {
  const { method, target } = values;
  const given = (["r", "alpha", "blocks"] as const).filter((name) => values[name] !== undefined);
  const options = Object.fromEntries(
    given.map((name) => [name, values[name] === "auto" ? "auto" : numberOf(values, name)]),
  );
  const system = { label: method, method, options };
  const adapter = attachSystem(model, system, { target }, numberOf(values, "dropout"));
  checkSavable(model, adapter);
  return adapter;
}

function keepOf({ keep }: Arguments): "best" | "last" {
  if (keep === "best" || keep === "last") return keep;
  throw new UsageError(`--keep wants best or last, not "${keep}"`);
}

function optionsOf(values: Arguments): TrainOptions & Pick<FineTuneOptions, "keep"> {
  const training = {
    learningRate: numberOf(values, "learning-rate"),
    epochs: countOf(values, "epochs", 1),
    batchSize: countOf(values, "batch-size", 1),
    seed: countOf(values, "seed", 0),
    ...values["warmup-steps"] === undefined
      ? { warmupRatio: suiteWarmupRatio }
      : { warmupSteps: countOf(values, "warmup-steps", 0) },
  };
  asUsage(() => checkTrainOptions(training));
  return { ...training, keep: keepOf(values) };
}

function scoresText({ epoch, trainLoss, metrics }: EpochScores): string {
  const scores = Object.entries(metrics).map(([name, score]) => `${name} ${score.toFixed(4)}`);
  return `epoch ${epoch + 1}: loss ${trainLoss.toFixed(4)}, ${scores.join(", ")}`;
}

async function main(): Promise<void> {
  const values = asUsage(readArguments);
  if (values.help) return console.log(help);
  const [source, train, text, label, wanted] = (["model", "train", "text", "label", "out"] as const).map((
    name,
  ) => required(values, name));
  const { dev, pair, regression } = values;
  const options = optionsOf(values);
  const askedTokens = values["max-tokens"] === undefined ? undefined : countOf(values, "max-tokens", 3);
  asUsage(() => methodByName(values.method));
  const out = await newFolder(wanted);
  using _ = await lockFor(out);
  const model = await loadEncoder(source);
  const maxTokens = maxTokensOf(model, askedTokens);
  const adapter = asUsage(() => adapterOf(model, values));
  const task = await loadOwnTask({ train, dev, text, pair, label, regression, maxTokens });
  const split = await task.load();
  const say = values.json ? console.error : console.log;
  say(
    `${split.train.length} examples to train on, ${split.dev.length} to evaluate on` +
      (regression ? "" : `; classes ${printable(task.labels.join(", "))}`),
  );
  using gpu = await openGpu();
  using frozen = FrozenWeights.forTraining(gpu, model);
  const epochs: EpochScores[] = [];
  const onScores = (scores: EpochScores) => {
    epochs.push(scores);
    say(scoresText(scores));
  };
  const { trained, kept } = await sayingWhatIsKept(
    () => fineTune({ gpu, model, frozen, adapter, task, split, onScores, ...options }),
    () => `Nothing is written to ${out}.`,
  );
  await writeFolder(out, async (folder) => {
    await saveAdapter(folder, model, adapter, trained, task);
  });
  if (options.keep === "best") {
    say(`kept: epoch ${kept.epoch + 1} of ${options.epochs}, the best by ${task.metrics[0]}`);
  }
  say(`${adapter.method.name} with ${adapter.trainableParameters} parameters, and its head: ${out}`);
  if (!values.json) return;
  const examples = { train: split.train.length, dev: split.dev.length };
  const { method, options: methodOptions, trainableParameters } = adapter;
  const made = { out, model: model.name, method: method.name, options: methodOptions, trainableParameters };
  console.log(JSON.stringify({ ...made, labels: task.labels, examples, epochs, kept: kept.epoch }, null, 1));
}

await runCommand(main);
