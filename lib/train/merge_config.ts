/** The `config.json` of a merged folder. */

import * as v from "npm:valibot@1.5.0";
import { type Labels, readLabels, unnamedLabels } from "../adapters/labels.ts";
import { readJson, readText } from "../files.ts";
import { readEncoderConfig } from "../models/hugging_face_config.ts";

/**
 * The fields of a `config.json` that name a head's outputs. If `num_labels` is there, transformers lets it
 * override the names.
 */
const namesSchema = v.looseObject({
  num_labels: v.optional(v.nullable(v.number())),
  id2label: v.optional(
    v.nullable(
      v.pipe(
        v.unknown(),
        v.check(
          (names) => names instanceof Object && !Array.isArray(names),
          "write an object of names by number",
        ),
        v.record(v.string(), v.unknown()),
      ),
    ),
  ),
});

/**
 * Makes the `config.json` of a merged model: the one of the base in `folder`, for a head with `outputs`
 * outputs, as PEFT's `merge_and_unload().save_pretrained` writes it. Everything in it stays, digit for digit,
 * except `architectures`, which also stays where no class of transformers pools as the base does. If the
 * adapter's folder has a `labels.json`, its names and problem type apply, because the head was trained on
 * them. Otherwise the base's names apply, or names such as `LABEL_0` if the base has another number of outputs.
 * @throws Error that names the malformed file.
 */
export async function mergedConfig(folder: string, adapter: string, outputs: number): Promise<string> {
  const path = `${folder}/config.json`;
  const { classifier, pooledByFolder } = await readEncoderConfig(folder);
  const labels = await readLabels(adapter, outputs) ?? await labelsFor(path, outputs);
  const architecture = pooledByFolder ? {} : { architectures: [classifier] };
  const { num_labels: _, ...kept } = asWritten(await readText(path));
  return `${JSON.stringify({ ...kept, ...architecture, ...labels }, null, 2)}\n`;
}

/**
 * The names of a merged model's outputs, as `mergedConfig` gives them. Throws as that does, and where an output has no name.
 */
export async function mergedLabels(folder: string, adapter: string, outputs: number): Promise<string[]> {
  const { id2label = {} } = JSON.parse(await mergedConfig(folder, adapter, outputs)) as Partial<Labels>;
  const ids = Array.from({ length: outputs }, (_, id) => id);
  const unnamed = ids.find((id) => typeof id2label[id] !== "string");
  if (unnamed === undefined) return ids.map((id) => id2label[id]);
  throw new Error(
    `${folder}/config.json: id2label has no name for output ${unnamed}, and the head has ${outputs} outputs: ` +
      `number the names from 0, or take id2label out`,
  );
}

/** The label fields needed for `outputs` outputs, if the base's configuration does not fit. */
async function labelsFor(path: string, outputs: number): Promise<Partial<Labels>> {
  const { num_labels, id2label } = await readJson(path, namesSchema);
  const areNamed = id2label && Object.keys(id2label).length === outputs;
  return areNamed && (num_labels ?? outputs) === outputs ? {} : unnamedLabels(outputs);
}

/**
 * Parses a JSON object so that it is written back with every number as in the source, such as 1.0 or numbers
 * beyond 2^53.
 */
function asWritten(json: string): Record<string, unknown> {
  // TypeScript does not know these two functions yet: https://tc39.es/proposal-json-parse-with-source
  const parse = JSON.parse as (
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source: string }) => unknown,
  ) => Record<string, unknown>;
  const { rawJSON } = JSON as unknown as { rawJSON?(text: string): unknown };
  if (!rawJSON) {
    throw new Error("merging needs JSON.rawJSON, which this runtime lacks: take Node 22 or newer");
  }
  return parse(json, (_, value, { source }) => typeof value === "number" ? rawJSON(source) : value);
}
