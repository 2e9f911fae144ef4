/** LLM-Adapters' protocol as one task: trained on all of a group's training data together, tested on each of its data sets. */

import { checkOptionNames } from "../option_names.ts";
import {
  goldOf,
  type LlmAdaptersLanguageOptions,
  llmAdaptersLanguageTask,
  readTestRecords,
} from "./llm_adapters_language.ts";
import { promptVariantByName } from "./llm_adapters_prompts.ts";
import { listsAnswers, type TestSet, testSetByName } from "./llm_adapters_sets.ts";
import type { Example, Scoring, Task } from "./task.ts";

/** Options of `llmAdaptersTestedTask`. */
export interface LlmAdaptersTestedOptions
  extends Pick<LlmAdaptersLanguageOptions, "folder" | "train" | "maxTokens"> {
  /** The data sets that it is tested on, in the order of tables. */
  readonly sets: readonly string[];
  /** The name of the prompts, in training and in tests. With the scoring `cloze` alone, training has its questions. */
  readonly prompts: string;
  /** How answers to the tests are found, the one whose score counts first: see `Tests`. */
  readonly scorings: readonly Scoring[];
}

const scoringNames: readonly Scoring[] = ["generation", "likelihood", "cloze"];

const optionNames = ["folder", "train", "sets", "prompts", "scorings", "maxTokens"];

/**
 * The task that is trained on `train` and tested on `sets`. `load` reads the files; its examples are in hash order, so that
 * prefixes are random samples.
 * @throws Error for an option or a name that there is not, no data set or one twice, and for one that none of the scorings suits.
 * `load` throws as `llmAdaptersLanguageTask` and `readTestRecords` do.
 */
export function llmAdaptersTestedTask(options: LlmAdaptersTestedOptions): Task {
  checkOptionNames("llmAdaptersTestedTask", options, optionNames);
  const { folder, train: name, sets, scorings, maxTokens } = options;
  if (sets.length === 0) throw new Error("sets is empty: name what it is tested on");
  const twice = sets.find((own, i) => sets.indexOf(own) !== i);
  if (twice !== undefined) throw new Error(`sets has ${twice} twice: take one out`);
  const unknown = scorings.find((own) => !scoringNames.includes(own));
  if (unknown !== undefined) throw new Error(`no scoring "${unknown}"; have ${scoringNames.join(", ")}`);
  const prompts = promptVariantByName(options.prompts);
  const found = sets.map(testSetByName);
  for (const set of found) {
    if (scoringsOf(set, scorings).length > 0) continue;
    throw new Error(`none of the scorings [${scorings.join(", ")}] suits ${set.name}: add generation`);
  }
  const asked = scorings.every((scoring) => scoring === "cloze") ? "cloze" : prompts;
  const trained = llmAdaptersLanguageTask({ folder, train: name, prompts: asked, maxTokens, heldOut: 1 });
  return {
    ...trained,
    metrics: ["accuracy"],
    tests: { sets, prompts, scorings },
    async load() {
      // Nothing is held out: the tests' data sets are others.
      const { train, dev: [held] } = await trained.load();
      const tested = await Promise.all(found.map(async (set): Promise<[string, Example[]]> => {
        const records = await readTestRecords(folder, set);
        const golds = records.map((record) => goldOf(set, record));
        const answers = [...new Set(golds)].toSorted((a, b) => a < b ? -1 : 1);
        const examples = records.map((record, i): Example => ({
          id: record.where,
          texts: [record.instruction, record.input ?? "", record.answer!],
          label: answers.indexOf(golds[i]),
          record,
        }));
        return [set.name, examples];
      }));
      const [[, dev], ...further] = tested;
      return { train: [held, ...train], dev, furtherDev: Object.fromEntries(further) };
    },
  };
}

/** Those of some scorings that suit a data set: all if it lists its answers, else what is written. */
export function scoringsOf(set: TestSet, scorings: readonly Scoring[]): Scoring[] {
  return scorings.filter((scoring) => listsAnswers(set) || scoring === "generation");
}
