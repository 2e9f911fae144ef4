/** What a task is: the one interface between the data sets and everything that trains or reports on them. */

import type { PackageOptions } from "../npm_files.ts";

/** One labelled example; `texts` is laid out as the task's `shape` says. */
export interface Example {
  /** Stable name of the example within its task, for logs and error messages. */
  readonly id: string;
  /** `single`: [text]; `pair`: [first, second]; `choice`: [question, option 0, option 1, …]. */
  readonly texts: readonly string[];
  /** Class index, regression target, or index of the right option. */
  readonly label: number;
}

/** Train and dev examples of one task; no lemma (or source text) is shared between the two. */
export interface Split {
  /** What is trained on. */
  readonly train: readonly Example[];
  /** What is evaluated on. */
  readonly dev: readonly Example[];
  /** Dev sets that are scored beside `dev`, by the word their scores are marked with: MNLI's "mismatched". */
  readonly furtherDev?: Readonly<Record<string, readonly Example[]>>;
}

/** Every metric a task may report; see `lib/train/metrics.ts` for their definitions. */
export type MetricName = "accuracy" | "macroF1" | "f1" | "matthews" | "pearson" | "spearman";

/** A data set with a fixed protocol. To add one: one file that exports a `Task`, one line in `registry.ts`. */
export interface Task {
  /** Name on command lines and in tables. */
  readonly name: string;
  /** One sentence for tables: what goes in, what comes out, and whose labels they are. */
  readonly description: string;
  /** Package or corpus the labels come from, with its version. */
  readonly source: string;
  /** How `Example.texts` is laid out, and so how the texts are encoded. */
  readonly shape: "single" | "pair" | "choice";
  /** Softmax cross-entropy over classes or options, or mean squared error. */
  readonly objective: "classification" | "regression";
  /** Names of the classes (classification of single or pair); empty for regression and choice. */
  readonly labels: readonly string[];
  /** First is the headline metric. */
  readonly metrics: readonly MetricName[];
  /** Longest text in tokens; the rest is cut off. */
  readonly maxTokens: number;
  /** Reads the source files and builds the split; the same bits on every machine. */
  load(options?: PackageOptions): Promise<Split>;
}

/** Tasks read from a folder of the user's. To add one: one file that exports a `TaskFamily`, one line in `registry.ts`. */
export interface TaskFamily {
  /** Short name, such as `glue`. */
  readonly name: string;
  /** One line: which tasks, from which files. */
  readonly description: string;
  /** Names of its tasks. */
  readonly tasks: readonly string[];
  /** The task called `name`, to be read from `folder`. Throws an Error that lists the names. */
  task(name: string, folder: string): Task;
}
