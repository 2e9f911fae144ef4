/** What cards say of the method, its options and its layers. */

import type { Adapter } from "../attach.ts";
import type { Labels } from "../labels.ts";
import { moduleOf } from "../names.ts";
import { differing } from "../peft_targeting.ts";
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
  const { adapter: { method, modules, trainableParameters, trainedBase } } = subject;
  const targets = new Set(modules.map(({ module: { path } }) => codeMarkdown(path.split(".").at(-1)!)));
  const whole = new Set([...trainedBase].map((name) => codeMarkdown(moduleOf(name))));
  const items = [
    `Method: ${escapeMarkdown(method.name)}, ${codeMarkdown(method.summary)}`,
    `Options: ${optionsText(subject.adapter)}`,
    `Target modules: ${[...targets].join(", ")} (${layersText(modules.length)})`,
    `Trainable parameters: ${trainableParameters.toLocaleString("en-US")}${headText(subject)}`,
    ...whole.size > 0 && !method.trainsBase ? [`Trained whole: ${[...whole].join(", ")}`] : [],
  ];
  return items.map((item) => `- ${item}`).join("\n");
}

/** The options, and those of layers that patterns give others. */
function optionsText({ options, modules }: Adapter): string {
  const settings = Object.entries(options).map(([name, value]) => codeMarkdown(`${name} ${value}`));
  const others = (["r", "alpha"] as const).flatMap((option) => {
    const byValue = Map.groupBy(Object.values(differing(modules, options, option)), (value) => value);
    return [...byValue].map(([value, { length }]) =>
      `${codeMarkdown(`${option} ${value}`)} (${layersText(length)})`
    );
  });
  return settings.join(", ") + (others.length > 0 ? `; otherwise ${others.join(", ")}` : "");
}

function layersText(layers: number): string {
  return `${layers} layer${layers === 1 ? "" : "s"}`;
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
