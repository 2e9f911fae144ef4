/**
 * `labels.json` in an adapter's folder: what the head's outputs stand for. It holds the arguments that transformers' models
 * take, so that `AutoModelForSequenceClassification.from_pretrained(base, **json.load(open("labels.json")))` has the head's
 * size and names. PEFT's `adapter_config.json` has no place for them, and a `config.json` beside it would tell transformers
 * that the whole model is in the folder.
 */

import * as v from "npm:valibot@1.5.0";
import type { Task } from "../data/task.ts";
import { isFile, readJson, writeWhole } from "../files.ts";
import { recordOf } from "../record_schema.ts";

const fileName = "labels.json";

const labelsSchema: v.GenericSchema<unknown, Labels> = v.object({
  problem_type: v.picklist(["regression", "single_label_classification"]),
  id2label: recordOf(v.string()),
  label2id: recordOf(v.number()),
});

/** By transformers' names. */
export interface Labels {
  /** Decides the loss. */
  readonly problem_type: "regression" | "single_label_classification";
  /** Names of the head's outputs, by their numbers from "0". */
  readonly id2label: Readonly<Record<string, string>>;
  /** The reverse. */
  readonly label2id: Readonly<Record<string, number>>;
}

/** Writes the task's labels into an adapter's folder; a regression's one output is called by transformers' own name. */
export async function writeLabels(folder: string, { objective, labels }: Task): Promise<void> {
  const named = labelsFrom(objective === "regression" ? ["LABEL_0"] : labels, objective === "regression");
  await writeWhole(`${folder}/${fileName}`, `${JSON.stringify(named, null, 2)}\n`);
}

/**
 * Reads them; none where there is no file, as in a folder of PEFT's.
 * @throws Error naming the file when it is malformed, or not for a head of so many outputs.
 */
export async function readLabels(folder: string, outputs: number): Promise<Labels | undefined> {
  const path = `${folder}/${fileName}`;
  if (!await isFile(path)) return undefined;
  const labels = await readJson(path, labelsSchema);
  const ids = Object.keys(labels.id2label);
  if (ids.length !== outputs || ids.some((id) => !(Number(id) < outputs))) {
    throw new Error(`${path}: id2label has the ids ${ids.join(", ")}, and the head has ${outputs} outputs`);
  }
  return labels;
}

/** transformers' own names for so many outputs. */
export function unnamedLabels(outputs: number): Pick<Labels, "id2label" | "label2id"> {
  const { id2label, label2id } = labelsFrom(Array.from({ length: outputs }, (_, i) => `LABEL_${i}`), false);
  return { id2label, label2id };
}

function labelsFrom(names: readonly string[], isRegression: boolean): Labels {
  return {
    problem_type: isRegression ? "regression" : "single_label_classification",
    id2label: Object.fromEntries(names.map((name, id) => [String(id), name])),
    label2id: Object.fromEntries(names.map((name, id) => [name, id])),
  };
}
