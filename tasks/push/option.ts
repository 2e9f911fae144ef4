/** `--push` of the commands that write a folder. */

import { type Destination, destinationOf, filesOf, refuseOthersFiles } from "./destination.ts";

/** Its line in a command's help, whose texts begin in column `at`. */
export function pushHelp(at: number): string {
  return [
    "  --push USER/NAME".padEnd(at) +
    "uploads DIR to the Hugging Face hub as well, with the token in HF_TOKEN; a new",
    " ".repeat(at) + "repository is private (deno task push --help)",
  ].join("\n");
}

/**
 * Where a folder will be pushed to, if it was asked for: before anything is computed. An adapter's files are known by then, a model's
 * are not. Throws as `destinationOf` and `refuseOthersFiles` do.
 */
export async function pushOf(
  id: string | undefined,
  what: "adapter" | "model",
): Promise<Destination | undefined> {
  if (id === undefined) return undefined;
  const destination = await destinationOf(id);
  const files = what === "adapter" ? await filesOf(destination) : undefined;
  if (files) await refuseOthersFiles(destination, files);
  return destination;
}
