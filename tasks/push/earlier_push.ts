/** Whether a repository's files come from an earlier push. */

import { downloadFile } from "npm:@huggingface/hub@2.17.5";
import { cardFile, isMarked } from "../../lib/adapters/card/card.ts";
import { descriptionBounds } from "../../lib/files.ts";
import type { Destination, RepositoryFiles } from "./destination.ts";

/** Files whose metadata say that this library wrote them. */
const noted = ["adapter_model.safetensors", "model.safetensors"];

/** The text of a repository's model card; undefined if it has none. */
export async function cardOf(destination: Destination, files: RepositoryFiles): Promise<string | undefined> {
  const bytes = files.get(cardFile);
  // A range of an empty file cannot be asked for.
  if (bytes === undefined || bytes === 0) return bytes === undefined ? undefined : "";
  return await (await downloadFile({ ...destination, path: cardFile, xet: false }))?.text();
}

/** True when this library wrote the card, which may have been edited since, or the tensors. */
export async function isEarlierPush(destination: Destination, files: RepositoryFiles): Promise<boolean> {
  const card = await cardOf(destination, files);
  if (card !== undefined && isMarked(card)) return true;
  for (const path of noted) {
    // Shorter ones hold no header.
    if ((files.get(path) ?? 0) > 8 && await isNoted(destination, path)) return true;
  }
  return false;
}

/** True for a file in safetensors whose metadata have an entry of this library's. */
async function isNoted(destination: Destination, path: string): Promise<boolean> {
  const file = await downloadFile({ ...destination, path, xet: false });
  if (!file) return false;
  const start = new DataView(await file.slice(0, 8).arrayBuffer());
  const length = Number(start.getBigUint64(0, true));
  if (length > Math.min(descriptionBounds.bytes, file.size - 8)) return false;
  return /"bora_webgpu_\w+":/.test(await file.slice(8, 8 + length).text());
}
