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

/** The objectives that `objectiveOf` has made, of each model by what they are of. */
const made = new WeakMap<Model, Map<string, Objective>>();

/**
 * The objective of a task for `model`; all the task's examples have as many texts as `example`. The same model and kind of task get
 * the same object, with which `AdaptedModel.predict` finds its programs again.
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
  const own = made.get(model) ?? new Map<string, Objective>();
  made.set(model, own);
  const key = [objective, texts.length, labels.length].join();
  const found = own.get(key) ??
    objectives[objective].of(model, { texts: texts.length, classes: labels.length });
  own.set(key, found);
  return found;
}
