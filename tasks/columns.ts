/** Formats text in columns, for a terminal. */

import { significant } from "../lib/show.ts";

/** Joins `rows` with two spaces between columns; the columns in `right` are right-aligned. */
export function columns(rows: readonly (readonly string[])[], right: readonly number[]): string {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const cell = (text: string, i: number) =>
    right.includes(i) ? text.padStart(widths[i]) : text.padEnd(widths[i]);
  return rows.map((row) => row.map(cell).join("  ").trimEnd()).join("\n");
}

const prefixes = ["", "k", "M", "G", "T", "P", "E", "Z"];

/** Formats hours with two digits, or as whole ones. */
export function hoursText(hours: number): string {
  return hours < 100 ? significant(hours, 2) : hours.toFixed(0);
}

/** Formats with three digits and an SI prefix, such as `12.3 TFLOP`. */
export function withPrefix(value: number, unit: string): string {
  // Of the rounded value: what rounds to 1000 has the next prefix.
  const rounded = Number(value.toPrecision(3));
  const power = Math.min(prefixes.length - 1, Math.max(0, Math.floor(Math.log10(rounded || 1) / 3)));
  return `${(value / 1000 ** power).toPrecision(3)} ${prefixes[power]}${unit}`;
}
