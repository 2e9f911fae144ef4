/** Every task of the embedded suite, in the order of the tables. */

import { sentiment } from "./sentiment.ts";
import { supersense } from "./supersense.ts";
import type { Task } from "./task.ts";

export const tasks: readonly Task[] = [supersense, sentiment];

/** The task called `name`. Throws an Error that lists the names. */
export function taskByName(name: string): Task {
  const found = tasks.find((task) => task.name === name);
  if (!found) throw new Error(`no task "${name}"; have ${tasks.map((task) => task.name).join(", ")}`);
  return found;
}
