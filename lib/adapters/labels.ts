/**
 * `labels.json` in an adapter folder: the meaning of the head's outputs. The fields are keyword arguments of
 * transformers' models, so `AutoModelForSequenceClassification.from_pretrained(base,
 * **json.load(open("labels.json")))` gets a head of the right size with the right label names. PEFT's
 * `adapter_config.json` has no such fields, and a `config.json` would tell transformers that the folder holds
 * a whole model.
 */

import * as v from "npm:valibot@1.5.0";
import type { Task } from "../data/task.ts";
import { isFile, readJson } from "../files.ts";
import { objectives } from "../objectives/registry.ts";
import { recordOf } from "../record_schema.ts";

/** The file's name in an adapter folder. */
export const labelsFile = "labels.json";

const labelsSchema: v.GenericSchema<unknown, Labels> = v.object({
  problem_type: v.picklist(["regression", "single_label_classification"]),
  id2label: recordOf(v.string()),
  label2id: recordOf(v.number()),
});

/** The meaning of a head's outputs, with transformers' field names. */
export interface Labels {
  /** Selects the loss: mean squared error or cross-entropy. */
  readonly problem_type: "regression" | "single_label_classification";
  /** Names of the head's outputs, by output number ("0", "1", …). */
  readonly id2label: Readonly<Record<string, string>>;
  /** Output numbers by name. */
  readonly label2id: Readonly<Record<string, number>>;
}

/** The content of `labels.json`. */
export function labelsText(labels: Labels): string {
  return `${JSON.stringify(labels, null, 2)}\n`;
}

/**
 * The meaning of a task's head's outputs, if it has a head. The single output of a regression or a choice is `LABEL_0`, as
 * in transformers.
 */
export function labelsOf({ objective, labels }: Pick<Task, "objective" | "labels">): Labels | undefined {
  const { problemType, outputNames } = objectives[objective];
  return problemType && labelsFrom(outputNames(labels), problemType);
}

/**
 * Reads `labels.json` from an adapter folder. Returns undefined when there is no such file, as in folders
 * that PEFT wrote.
 * @throws Error that names the file when it is malformed or does not fit a head with this number of outputs.
 */
export async function readLabels(folder: string, outputs: number): Promise<Labels | undefined> {
  const path = `${folder}/${labelsFile}`;
  if (!await isFile(path)) return undefined;
  const labels = await readJson(path, labelsSchema);
  checkLabels(labels, outputs, path);
  return labels;
}

/** Throws an Error that begins with `where` unless the labels name each of this number of outputs, by a name of its own. */
export function checkLabels(
  { problem_type, id2label, label2id }: Labels,
  outputs: number,
  where: string,
): void {
  const ids = Object.keys(id2label);
  if (ids.length !== outputs || ids.some((id, at) => id !== String(at))) {
    throw new Error(`${where}: id2label has the ids ${ids.join(", ")}, and the head has ${outputs} outputs`);
  }
  const isReverse = ids.every((id) =>
    Object.hasOwn(label2id, id2label[id]) && label2id[id2label[id]] === Number(id)
  );
  if (!isReverse || Object.keys(label2id).length !== outputs) {
    throw new Error(`${where}: label2id is not the reverse of id2label: give each class a name of its own`);
  }
  if (problem_type === "regression" && outputs !== 1) {
    throw new Error(`${where}: problem_type is regression, and the head has ${outputs} outputs and not 1`);
  }
}

/** transformers' default label names (`LABEL_0`, `LABEL_1`, …) for this number of outputs. */
export function unnamedLabels(outputs: number): Pick<Labels, "id2label" | "label2id"> {
  const { id2label, label2id } = labelsFrom(namesOf(outputs), "single_label_classification");
  return { id2label, label2id };
}

function namesOf(outputs: number): string[] {
  return Array.from({ length: outputs }, (_, i) => `LABEL_${i}`);
}

function labelsFrom(names: readonly string[], problem_type: Labels["problem_type"]): Labels {
  return {
    problem_type,
    id2label: Object.fromEntries(names.map((name, id) => [String(id), name])),
    label2id: Object.fromEntries(names.map((name, id) => [name, id])),
  };
}
