/** What cards say of the method, its options and its layers. */

import type { Adapter } from "../attach.ts";
import type { Labels } from "../labels.ts";
import { moduleOf } from "../names.ts";
import { codeMarkdown, escapeMarkdown } from "../../escape_markdown.ts";
import type { Model, Weight } from "../../models/model.ts";

/** What an adapter's folder holds. */
export interface CardSubject {
  readonly model: Model;
  readonly adapter: Adapter;
  /** The trained tensors, the head's included. */
  readonly weights: ReadonlyMap<string, Weight>;
  /** What the head's outputs mean. */
  readonly labels?: Labels;
}

/** The number of the head's outputs, if the weights include one. */
export function outputsOf({ model, weights }: CardSubject): number | undefined {
  return weights.get(`${model.head.projection}.weight`)?.shape[0];
}

/** The hub's task, if it is known. */
export function pipelineOf(subject: CardSubject): string | undefined {
  if (outputsOf(subject) !== undefined) return subject.labels && "text-classification";
  return subject.model.language && "text-generation";
}

/** The method, its options, its layers and how much of them is trained, as a list. */
export function methodList(subject: CardSubject): string {
  const { adapter: { method, options, modules, trainableParameters, trainedBase } } = subject;
  const settings = Object.entries(options).map(([name, value]) => codeMarkdown(`${name} ${value}`));
  const targets = new Set(modules.map(({ module: { path } }) => codeMarkdown(path.split(".").at(-1)!)));
  const whole = new Set([...trainedBase].map((name) => codeMarkdown(moduleOf(name))));
  const items = [
    `Method: ${escapeMarkdown(method.name)}, ${codeMarkdown(method.summary)}`,
    `Options: ${settings.join(", ")}`,
    `Target modules: ${[...targets].join(", ")} (${modules.length} layer${modules.length === 1 ? "" : "s"})`,
    `Trainable parameters: ${trainableParameters.toLocaleString("en-US")}${headText(subject)}`,
    ...whole.size > 0 && !method.trainsBase ? [`Trained whole: ${[...whole].join(", ")}`] : [],
  ];
  return items.map((item) => `- ${item}`).join("\n");
}

function headText(subject: CardSubject): string {
  const outputs = outputsOf(subject);
  if (outputs === undefined) return "";
  const { labels } = subject;
  const names = labels ? `: ${escapeMarkdown(Object.values(labels.id2label).join(", "))}` : "";
  const what = labels?.problem_type === "regression"
    ? "a number"
    : `${outputs} output${outputs > 1 ? "s" : ""}${names}`;
  return `, and those of a head for ${what}`;
}
