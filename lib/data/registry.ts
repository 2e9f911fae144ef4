/**
 * The tasks of the embedded suite, in the order of the tables, and the families of tasks that are read from a
 * folder.
 */

import { commonsense } from "./commonsense.ts";
import { glue } from "./glue.ts";
import { hypernym } from "./hypernym.ts";
import { kinds } from "./kinds.ts";
import { llmAdapters } from "./llm_adapters.ts";
import { sentiment } from "./sentiment.ts";
import { spam } from "./spam.ts";
import { supersense } from "./supersense.ts";
import type { Task, TaskFamily } from "./task.ts";
import { valence } from "./valence.ts";
import { wic } from "./wic.ts";

/** All tasks of the embedded suite, which need no files of your own. */
export const tasks: readonly Task[] = [supersense, hypernym, wic, valence, sentiment, spam, commonsense];

/** Tasks for decoders, which need no files of your own either: their answers are texts. */
export const decoderTasks: readonly Task[] = [kinds];

/**
 * All families of tasks that are read from a folder of your own files: GLUE and LLM-Adapters' commonsense
 * tasks.
 */
export const families: readonly TaskFamily[] = [glue, llmAdapters];

/**
 * The embedded suite's task `name`, such as "sentiment", or a decoder's, such as "kinds".
 * @throws Error that lists the names when there is no such task.
 */
export function taskByName(name: string): Task {
  const all = [...tasks, ...decoderTasks];
  const found = all.find((task) => task.name === name);
  if (!found) throw new Error(`no task "${name}"; have ${all.map((task) => task.name).join(", ")}`);
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
