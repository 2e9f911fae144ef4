/**
 * The tasks of the embedded suite, in the order of the tables, and the families of tasks that are read from a
 * folder.
 */

import { commonsense } from "./commonsense.ts";
import { glue } from "./glue.ts";
import { hypernym } from "./hypernym.ts";
import { llmAdapters } from "./llm_adapters.ts";
import { sentiment } from "./sentiment.ts";
import { spam } from "./spam.ts";
import { supersense } from "./supersense.ts";
import type { Task, TaskFamily } from "./task.ts";
import { valence } from "./valence.ts";
import { wic } from "./wic.ts";

/** All tasks of the embedded suite, which need no files of your own. */
export const tasks: readonly Task[] = [supersense, hypernym, wic, valence, sentiment, spam, commonsense];

/**
 * All families of tasks that are read from a folder of your own files: GLUE and LLM-Adapters' commonsense
 * tasks.
 */
export const families: readonly TaskFamily[] = [glue, llmAdapters];

/**
 * The embedded suite's task `name`, such as "sentiment".
 * @throws Error that lists the names when there is no such task.
 */
export function taskByName(name: string): Task {
  const found = tasks.find((task) => task.name === name);
  if (!found) throw new Error(`no task "${name}"; have ${tasks.map((task) => task.name).join(", ")}`);
  return found;
}

/**
 * The task `name` of any family, such as "RTE" or "boolq", read from `folder` (see `glueTask` and
 * `llmAdaptersTask`).
 * @throws Error that lists the names when there is no such task.
 */
export function taskFrom(name: string, folder: string): Task {
  const family = families.find(({ tasks }) => tasks.includes(name));
  if (!family) {
    const names = families.flatMap(({ tasks }) => tasks).join(", ");
    throw new Error(`no task "${name}" is read from a folder; those are ${names}`);
  }
  return family.task(name, folder);
}
