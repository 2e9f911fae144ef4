/** The interface of a task, used by everything that trains or reports on data sets. */

import type { LanguageRow } from "./language_rows.ts";
import type { PromptVariant } from "./llm_adapters_prompts.ts";
import type { InstructionRecord } from "./llm_adapters_records.ts";
import type { PackageOptions } from "../npm_files.ts";

/** One labelled example. */
export interface Example {
  /** Stable name of the example within its task, for logs and error messages. */
  readonly id: string;
  /** [text], [first, second], or for a choice [question, option 0, option 1, …]; as many in all examples of a task. */
  readonly texts: readonly string[];
  /** Class index, regression target, or index of the correct option. */
  readonly label: number;
  /** What a language task's example is, in place of texts. Without it, its texts are a prompt and the answer. */
  readonly row?: LanguageRow;
  /** Of a task that is tested on data sets of LLM-Adapters (`Task.tests`): the record that is asked. */
  readonly record?: InstructionRecord;
}

/**
 * How a model that writes is tested: by what it writes, by which of the listed answers is the likeliest, or by which option is
 * after lm-evaluation-harness' context. See `lib/generate/evaluate.ts`.
 */
export type Scoring = "generation" | "likelihood" | "cloze";

/** Tests on data sets of LLM-Adapters. */
export interface Tests {
  /** The data sets: `dev` is of the first, the further dev sets are of the others and have their names. */
  readonly sets: readonly string[];
  /** How they are asked. */
  readonly prompts: PromptVariant;
  /**
   * How their answers are found. The first that suits a data set gives its score, further ones its other metrics; those by listed
   * answers do not suit one that lists none.
   */
  readonly scorings: readonly Scoring[];
}

/** Train and dev examples of one task. In the embedded suite, the two share no lemma or source text. */
export interface Split {
  /** Examples to train on. */
  readonly train: readonly Example[];
  /** Examples to evaluate on. */
  readonly dev: readonly Example[];
  /**
   * Further dev sets, scored separately from `dev`, by the suffix of their scores' names: MNLI's
   * "mismatched".
   */
  readonly furtherDev?: Readonly<Record<string, readonly Example[]>>;
}

/** The metrics that a task can report; see `lib/train/metrics.ts` for their definitions. */
export type MetricName = "accuracy" | "macroF1" | "f1" | "matthews" | "pearson" | "spearman" | "perplexity";

/**
 * A data set with a fixed protocol. To add one, write a file that exports a `Task` and add it to
 * `registry.ts`.
 */
export interface Task {
  /** Name on command lines and in tables. */
  readonly name: string;
  /** One sentence for tables: the input, the output, and the origin of the labels. */
  readonly description: string;
  /** Package or corpus that the labels come from, with its version. */
  readonly source: string;
  /**
   * What is learnt, and the loss: the class, the right option or the next tokens (softmax cross-entropy), or a value (mean
   * squared error). See `lib/objectives`.
   */
  readonly objective: "classification" | "regression" | "choice" | "language";
  /** Names of the classes, by class index; empty for regression and choice. */
  readonly labels: readonly string[];
  /** Metrics to report; the first is the headline metric. */
  readonly metrics: readonly MetricName[];
  /** Longest text in tokens; longer texts are truncated. */
  readonly maxTokens: number;
  /** Of a language task: whether only answers are learnt (the default), or prompts too. */
  readonly loss?: "completion" | "all";
  /**
   * Of a language task whose answers are few: a text for each label, with which prompts may go on. Dev is then scored by which
   * of them is the likeliest after an example's first text, and labels are their indices; end marks are not learnt.
   */
  readonly continuations?: readonly string[];
  /** Of a language task whose answers are read from what is written or likely: the tests. Labels are answers of a set, by number. */
  readonly tests?: Tests;
  /** Reads the source files and returns the split, which is identical on every machine. */
  load(options?: PackageOptions): Promise<Split>;
}

/**
 * A family of tasks that are read from a folder of the user's files. To add one, write a file that exports a
 * `TaskFamily` and add it to `registry.ts`.
 */
export interface TaskFamily {
  /** Short name, such as `glue`. */
  readonly name: string;
  /** One line that says which tasks, and from which files. */
  readonly description: string;
  /** Names of the family's tasks. */
  readonly tasks: readonly string[];
  /** The task `name`, read from `folder`. Throws an Error that lists the names when there is no such task. */
  task(name: string, folder: string): Task;
}
