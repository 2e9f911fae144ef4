/** Values in messages and on pages. */

/** A value as JSON for an error message, truncated if long; a number or a bigint as it is, which JSON has no NaN or infinity for. */
export function show(value: unknown): string {
  const isNumber = typeof value === "number" || typeof value === "bigint";
  const json = String(isNumber ? value : JSON.stringify(value));
  return json.length > 80 ? `${json.slice(0, 80)}…` : json;
}

/** A number with so many decimals; what rounds to 0 has no sign. */
export function fixed(value: number, decimals: number): string {
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? text.replace("-", "") : text;
}

/** A difference with so many decimals, + or − before it; what rounds to 0 has no sign. */
export function signed(value: number, decimals: number): string {
  const text = Math.abs(value).toFixed(decimals);
  return `${Number(text) === 0 ? "" : value > 0 ? "+" : "−"}${text}`;
}

/** A number with so many digits, and never with a power of ten, however large it is. */
export function significant(value: number, digits: number): string {
  const text = value.toPrecision(digits);
  return text.includes("e+") ? Number(text).toFixed(0) : text;
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
