/** Encoders for `reproduce`, whose cells take a part of USE-lite's time. */

import { writeCheckpoint } from "./seeded_checkpoint.ts";

/** The options of `reproduce` for an encoder of this configuration, whose files are written to `folder`. */
export async function smallEncoder(folder: string, config: Record<string, unknown>): Promise<string[]> {
  await writeCheckpoint(`${folder}/small`, config);
  return ["--profile", "smoke", "--model", `${folder}/small`];
}
