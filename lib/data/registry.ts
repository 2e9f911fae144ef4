/** Every task of the embedded suite, in the order of the tables, and every family of tasks read from a folder. */

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

/** Every task of the embedded suite. */
export const tasks: readonly Task[] = [supersense, hypernym, wic, valence, sentiment, spam, commonsense];

/** Tasks that are read from a folder of the user's, by family. */
export const families: readonly TaskFamily[] = [glue, llmAdapters];

/** The task called `name`. Throws an Error that lists the names. */
export function taskByName(name: string): Task {
  const found = tasks.find((task) => task.name === name);
  if (!found) throw new Error(`no task "${name}"; have ${tasks.map((task) => task.name).join(", ")}`);
  return found;
}

/** The task called `name` of whichever family has it, to be read from `folder`. Throws an Error that lists the names. */
export function taskFrom(name: string, folder: string): Task {
  const family = families.find(({ tasks }) => tasks.includes(name));
  if (!family) {
    const names = families.flatMap(({ tasks }) => tasks).join(", ");
    throw new Error(`no task "${name}" is read from a folder; those are ${names}`);
  }
  return family.task(name, folder);
}
