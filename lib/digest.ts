/** A short digest of any JSON value. */

import { bytesToHex } from "npm:@noble/hashes@2.4.0/utils.js";

/** SHA-256, in hexadecimal digits, of `content` as JSON. */
export async function digestOf(content: unknown): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(content));
  return bytesToHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}
