/** A short digest of any JSON value. */

import { sha256 } from "npm:@noble/hashes@2.4.0/sha2.js";
import { bytesToHex } from "npm:@noble/hashes@2.4.0/utils.js";

/**
 * SHA-256, in hexadecimal digits, of `content` as JSON. A list is taken item by item: the JSON of a training set's tokens may be longer
 * than a string can be.
 */
export async function digestOf(content: unknown): Promise<string> {
  if (Array.isArray(content)) return digestOfList(content);
  return bytesToHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytesOf(JSON.stringify(content)))));
}

function digestOfList(items: readonly unknown[]): string {
  const hash = sha256.create();
  for (const [i, item] of items.entries()) {
    hash.update(bytesOf((i === 0 ? "[" : ",") + (JSON.stringify(item) ?? "null")));
  }
  return bytesToHex(hash.update(bytesOf(items.length === 0 ? "[]" : "]")).digest());
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
