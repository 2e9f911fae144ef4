/** The `config.json` of a merged folder. */

import * as v from "npm:valibot@1.5.0";
import { type Labels, readLabels, unnamedLabels } from "../adapters/labels.ts";
import { readJson, readText } from "../files.ts";
import { readEncoderConfig } from "../models/hugging_face_config.ts";

/** What of a `config.json` names the outputs of a head; transformers takes `num_labels`, where there is one, before the names. */
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
 * The base's `config.json` in `folder`, made that of a model with the head of the folder `adapter`, which has so many outputs, as
 * peft's `merge_and_unload().save_pretrained` makes it: all that it says stays, digit for digit, but for `architectures`. Where
 * the adapter has a `labels.json`, its names and problem type count, since the head was trained on them; else those of the
 * base, or names such as `LABEL_0` where the base's are for another number of outputs.
 * @throws Error naming the file that is malformed.
 */
export async function mergedConfig(folder: string, adapter: string, outputs: number): Promise<string> {
  const path = `${folder}/config.json`;
  const { classifier } = await readEncoderConfig(path);
  const labels = await readLabels(adapter, outputs) ?? await labelsFor(path, outputs);
  const { num_labels: _, ...kept } = asWritten(await readText(path));
  return `${JSON.stringify({ ...kept, architectures: [classifier], ...labels }, null, 2)}\n`;
}

/** What must be said of so many outputs beyond what the base's configuration says. */
async function labelsFor(path: string, outputs: number): Promise<Partial<Labels>> {
  const { num_labels, id2label } = await readJson(path, namesSchema);
  const areNamed = id2label && Object.keys(id2label).length === outputs;
  return areNamed && (num_labels ?? outputs) === outputs ? {} : unnamedLabels(outputs);
}

/** An object of JSON whose numbers are written again as they stand, such as 1.0 and those beyond 2^53. */
function asWritten(json: string): Record<string, unknown> {
  // TypeScript knows neither yet: https://tc39.es/proposal-json-parse-with-source
  const parse = JSON.parse as (
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source: string }) => unknown,
  ) => Record<string, unknown>;
  const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };
  return parse(json, (_, value, { source }) => typeof value === "number" ? rawJSON(source) : value);
}
