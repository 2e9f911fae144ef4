/** Every task of the embedded suite, in the order of the tables. */

import { commonsense } from "./commonsense.ts";
import { hypernym } from "./hypernym.ts";
import { sentiment } from "./sentiment.ts";
import { spam } from "./spam.ts";
import { supersense } from "./supersense.ts";
import type { Task } from "./task.ts";
import { valence } from "./valence.ts";
import { wic } from "./wic.ts";

/** Every task of the embedded suite. */
export const tasks: readonly Task[] = [supersense, hypernym, wic, valence, sentiment, spam, commonsense];

/** The task called `name`. Throws an Error that lists the names. */
export function taskByName(name: string): Task {
  const found = tasks.find((task) => task.name === name);
  if (!found) throw new Error(`no task "${name}"; have ${tasks.map((task) => task.name).join(", ")}`);
  return found;
}
