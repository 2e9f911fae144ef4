/** A short digest of any JSON value. */

/** SHA-256, in hexadecimal digits, of `content` as JSON. */
export async function digestOf(content: unknown): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(content));
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
