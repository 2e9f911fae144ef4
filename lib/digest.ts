/** A short name for whatever JSON holds. */

/** SHA-256, in hexadecimal digits, of what JSON makes of `content`. */
export async function digestOf(content: unknown): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(content));
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
