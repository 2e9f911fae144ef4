/** The error for a model that is neither here nor of a published shape, of commands that download nothing. */

import { UsageError } from "./usage.ts";

/** Says that there is no folder `source`, and which ids could be given in its place. */
export function unknownModel(source: string, ids: readonly string[]): UsageError {
  return new UsageError(
    `there is no folder ${source}, and nothing is downloaded here: give a folder with the model's config.json, or one of ` +
      ids.join(", "),
  );
}
