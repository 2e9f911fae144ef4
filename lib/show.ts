/** Values in messages. */

/** A value as JSON for an error message, truncated if long; a bigint as its digits. */
export function show(value: unknown): string {
  const json = typeof value === "bigint" ? String(value) : String(JSON.stringify(value));
  return json.length > 80 ? `${json.slice(0, 80)}…` : json;
}

/** Formats bytes in KiB, MiB or GiB. */
export function bytesText(bytes: number): string {
  if (bytes < 2 ** 20) return `${Math.ceil(bytes / 2 ** 10)} KiB`;
  return bytes < 2 ** 30 ? `${Math.round(bytes / 2 ** 20)} MiB` : `${gibibytes(bytes)} GiB`;
}

/** Formats bytes in GiB, with enough decimals for small values. */
export function gibibytes(bytes: number): string {
  const value = bytes / 2 ** 30;
  return value < 10 ? value.toFixed(2) : value.toFixed(1);
}
