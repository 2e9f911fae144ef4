/** The `model_type` of a `config.json`, which decides what its other fields are called. */

import * as v from "npm:valibot@1.5.0";
import { fitting } from "../files.ts";

const typeSchema = v.looseObject({ model_type: v.string() });

/**
 * The `model_type` in `json`, the content of the `config.json` at `path`.
 * @throws Error that names the file and the known types when it is not one of these.
 */
export function modelTypeIn(path: string, json: unknown, known: readonly string[]): string {
  const { model_type: type } = fitting(path, typeSchema, json);
  if (known.includes(type)) return type;
  throw new Error(
    `${path}: model_type is ${JSON.stringify(type)}: use a model with one of ${known.join(", ")}`,
  );
}
