/** Values in messages. */

/** A value as JSON for an error message, truncated if long; a bigint as its digits. */
export function show(value: unknown): string {
  const json = typeof value === "bigint" ? String(value) : String(JSON.stringify(value));
  return json.length > 80 ? `${json.slice(0, 80)}…` : json;
}
