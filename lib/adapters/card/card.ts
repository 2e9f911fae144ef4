/**
 * Model cards: a folder's README.md, of which the Hugging Face hub reads the front matter
 * (https://huggingface.co/docs/hub/model-cards) and people the rest. A card ends with a mark that holds the SHA-256 of what is above:
 * by it a card that somebody has edited or written is told from one that this library may write anew.
 */

import { sha256 } from "npm:@noble/hashes@2.4.0/sha2.js";
import { bytesToHex } from "npm:@noble/hashes@2.4.0/utils.js";
import { stringify } from "npm:yaml@2.9.1";
import { isFile, readBytes } from "../../files.ts";
import { version } from "../../version.ts";

/** The card's name in a folder. */
export const cardFile = "README.md";

/** What a card says. */
export interface Card {
  /** The front matter; fields that are undefined are left out. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Parts of the text, as markdown. */
  readonly parts: readonly string[];
}

/** The content of README.md. */
export function cardText({ fields, parts }: Card): string {
  // The hub reads YAML 1.2, and its Python library 1.1, where "no" without quotes is false.
  const yaml = stringify(fields, { compat: "yaml-1.1" });
  const text = `---\n${yaml}---\n\n${parts.join("\n\n")}\n\n`;
  return `${text}<!-- written by @bora/webgpu ${version}: ${digestOf(text)} -->\n`;
}

/** True for a card as `cardText` made it, of whatever version: neither edited nor written by somebody. */
export function isUnedited(card: string): boolean {
  const [mark, digest] = card.match(/<!-- written by @bora\/webgpu \S+: ([0-9a-f]{64}) -->\n$/) ?? [];
  return mark !== undefined && digestOf(card.slice(0, -mark.length)) === digest;
}

/** True for a card that `cardText` made, even if somebody has edited it since. */
export function isMarked(card: string): boolean {
  return /<!-- written by @bora\/webgpu \S+: [0-9a-f]{64} -->/.test(card);
}

function digestOf(text: string): string {
  return bytesToHex(sha256(new TextEncoder().encode(text)));
}

/** True when the folder has a card that this library must not write over. */
export async function hasOwnCard(folder: string): Promise<boolean> {
  const path = `${folder}/${cardFile}`;
  // Bytes that are no UTF-8 do not come from here, and have no mark.
  return await isFile(path) && !isUnedited(new TextDecoder().decode(await readBytes(path)));
}
