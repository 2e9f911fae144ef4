/**
 * LLM-Adapters' data for models that write their answers: what they are trained on as a task of the language, and what they are
 * tested on. A folder holds `commonsense_170k.json` and `math_10k.json`, or parts of the former as NAME/train.json, and NAME/test.json.
 */

import { isFile } from "../files.ts";
import { checkOptionNames } from "../option_names.ts";
import type { LanguageRow } from "./language_rows.ts";
import { checkLoss } from "./language_task.ts";
import { choicesOf } from "./llm_adapters_choices.ts";
import { type PromptVariant, trainingRow } from "./llm_adapters_prompts.ts";
import { type InstructionRecord, needed, readInstructionRecords } from "./llm_adapters_records.ts";
import { type ChoiceSet, commonsenseSets, type TestSet } from "./llm_adapters_sets.ts";
import { inHashOrder } from "./split.ts";
import type { Example, Task } from "./task.ts";

/** What is trained on: a file of the name, or else the training parts of commonsense_170k that the folder has. */
export type TrainingSetName = "commonsense_170k" | "math_10k";

/**
 * The data sets whose training parts it is made of. math_10k has none: what lay beside its tests as NAME/train.json was four fifths
 * of the tests' own problems (AGI-Edgerunners/LLM-Adapters, issues 20 and 21).
 */
export const trainingPartsOf: Readonly<Record<TrainingSetName, readonly ChoiceSet[]>> = {
  "commonsense_170k": commonsenseSets,
  "math_10k": [],
};

/** Names of what is trained on. */
export const trainingSetNames = Object.keys(trainingPartsOf) as readonly TrainingSetName[];

/** Options of `llmAdaptersLanguageTask`. */
export interface LlmAdaptersLanguageOptions {
  /** The folder with the files. */
  readonly folder: string;
  /** What is trained on. */
  readonly train: TrainingSetName;
  /**
   * How it is asked. With `cloze` the correct option goes on after lm-evaluation-harness' context; this needs the parts' own files,
   * whose data sets are known: math_10k has none.
   */
  readonly prompts: PromptVariant | "cloze";
  /** By default the prompts' own; answers only with `cloze`. */
  readonly loss?: "completion" | "all";
  /** Longer rows are cut at their ends. */
  readonly maxTokens: number;
  /** Rows that are held out, for the perplexity after each epoch; from 1. */
  readonly heldOut: number;
}

const optionNames = ["folder", "train", "prompts", "loss", "maxTokens", "heldOut"];

/**
 * Records to train on as a task whose objective is the language. Its rows are in hash order, so that a prefix is a random sample.
 * `load` reads the files; where some of commonsense_170k's parts are missing, it warns that it is trained on the others alone.
 * @throws Error for an option, a name or a loss that there is not, when `heldOut` is no whole number from 1, and for math_10k with
 * `cloze`. `load` throws an Error that names the files that were looked for and are
 * not there, or the file and record that is malformed, and when nothing is left to train on.
 */
export function llmAdaptersLanguageTask(options: LlmAdaptersLanguageOptions): Task {
  checkOptionNames("llmAdaptersLanguageTask", options, optionNames);
  const { folder, train: name, prompts, maxTokens, heldOut } = options;
  if (!trainingSetNames.includes(name)) {
    throw new Error(`no training data ${JSON.stringify(name)}; have ${trainingSetNames.join(", ")}`);
  }
  const loss = options.loss ?? (prompts === "cloze" ? "completion" : prompts.loss);
  checkLoss(loss);
  if (!(Number.isSafeInteger(heldOut) && heldOut >= 1)) {
    throw new Error(`heldOut is ${heldOut}: use a whole number from 1`);
  }
  if (prompts === "cloze" && trainingPartsOf[name].length === 0) {
    throw new Error(`${name} lists no answers, which cloze needs: train on it with prompts`);
  }
  return {
    name,
    description: "instruction → its answer, written",
    source: `LLM-Adapters (Hu et al. 2023), ${name}`,
    objective: "language",
    labels: [],
    metrics: ["perplexity"],
    maxTokens,
    loss,
    async load() {
      const parts = await trainingParts(folder, name, prompts === "cloze");
      const examples = (await Promise.all(parts.map((part) => examplesOf(part, prompts)))).flat();
      if (examples.length <= heldOut) {
        throw new Error(
          `${folder} has ${examples.length} records of ${name}, and ${heldOut} are to be held out: add some`,
        );
      }
      const ordered = inHashOrder(examples, ({ id }) => id);
      return { train: ordered.slice(heldOut), dev: ordered.slice(0, heldOut) };
    },
  };
}

/** A file to train on. */
interface TrainingPart {
  /** Where it is. */
  readonly path: string;
  /** Names of its records, with their places. */
  readonly name: string;
  /** The data set that all records are of, if it is one's. */
  readonly set?: ChoiceSet;
}

/**
 * The files that `name` is read from: the one of this name, unless only parts will do, or else those of its parts that are there.
 * Throws an Error that names what was looked for when there is none.
 */
async function trainingParts(
  folder: string,
  name: TrainingSetName,
  partsOnly: boolean,
): Promise<TrainingPart[]> {
  const whole = { path: `${folder}/${name}.json`, name };
  if (!partsOnly && await isFile(whole.path)) return [whole];
  const parts = trainingPartsOf[name].map((set) => ({ name: `${set.name}/train`, set }));
  const found: TrainingPart[] = [];
  const missing: string[] = [];
  for (const { name, set } of parts) {
    const path = `${folder}/${name}.json`;
    if (await isFile(path)) found.push({ path, name, set });
    else missing.push(`${name}.json`);
  }
  if (found.length > 0 && missing.length > 0) {
    console.warn(
      `${folder} has no ${partsOnly ? "" : `${name}.json, and of its parts no `}${
        missing.join(", ")
      }: it is trained on the others alone`,
    );
  }
  if (found.length > 0) return found;
  throw new Error(
    missing.length === 0
      ? `${folder} has no ${name}.json: name the folder that has, or download it`
      : `${folder} has ${partsOnly ? "none of" : `neither ${name}.json nor any of`} ${
        missing.join(", ")
      }: name the folder that has, or download them`,
  );
}

async function examplesOf({ path, name, set }: TrainingPart, prompts: PromptVariant | "cloze") {
  const records = await readInstructionRecords(path, { answers: prompts === "cloze" });
  return records.map((record): Example => {
    const row = prompts === "cloze" ? clozeRow(set!, record) : trainingRow(prompts, record);
    return { id: `${name} ${record.index}`, texts: [], label: 0, row };
  });
}

/** The correct option after its context. */
function clozeRow(set: ChoiceSet, record: InstructionRecord): LanguageRow {
  const { where } = record;
  const choices = choicesOf(set, record);
  const { context, continuation } = set.cloze.candidates(choices).find(({ option }) =>
    option === choices.label
  )!;
  return { kind: "completion", where, prompt: context, completion: continuation };
}

/**
 * The test records of a data set, or `most` of them, a random sample that is the same everywhere.
 * @throws Error that names the file and record that is malformed, or whose answer is none of the data set's kind.
 */
export async function readTestRecords(
  folder: string,
  set: TestSet,
  most: number = Infinity,
): Promise<InstructionRecord[]> {
  const records = await readInstructionRecords(`${folder}/${set.name}/test.json`);
  for (const record of records) goldOf(set, record);
  return inHashOrder(records, ({ index }) => `${set.name}/test ${index}`).slice(0, most);
}

/** The right answer of a record. Throws an Error that names the record when it has none of the data set's kind. */
export function goldOf({ name, reading }: TestSet, { where, answer }: InstructionRecord): string | number {
  const written = needed(where, "answer", answer);
  const gold = reading.gold(written);
  if (gold !== undefined) return gold;
  throw new Error(
    `${where} has answer ${JSON.stringify(written)}, which is none of ${name}'s kind: mend the record`,
  );
}
