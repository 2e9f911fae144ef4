/** The registry of objectives. */

import type { Example, Task } from "../data/task.ts";
import type { Model } from "../models/model.ts";
import { choice } from "./choice.ts";
import { classification } from "./classification.ts";
import { language } from "./language.ts";
import type { Objective, ObjectiveKind } from "./objective.ts";
import { regression } from "./regression.ts";

/** The objectives, by name. */
export const objectives: Readonly<Record<Task["objective"], ObjectiveKind>> = {
  classification,
  regression,
  choice,
  language,
};

/**
 * The objective of a task for `model`; all the task's examples have as many texts as `example`.
 * @throws Error as `ObjectiveKind.of` does, and for an objective that there is not.
 */
export function objectiveOf(
  model: Model,
  { objective, labels }: Pick<Task, "objective" | "labels">,
  { texts }: Pick<Example, "texts">,
): Objective {
  if (!Object.hasOwn(objectives, objective)) {
    throw new Error(`there is no objective "${objective}"; there are ${Object.keys(objectives).join(", ")}`);
  }
  return objectives[objective].of(model, { texts: texts.length, classes: labels.length });
}
