/** `--r` and `--b` of `deno task reproduce`: a table's rows at other ranks and numbers of blocks. */

import type { OptionValue } from "../lib/adapters/systems.ts";
import { methodByName } from "../lib/adapters/registry.ts";
import { rowsOf } from "./planned_cells.ts";
import type { Profile, Row, Table } from "./tables/table.ts";
import { UsageError } from "./usage.ts";

/** The requested ranks and numbers of blocks. An empty list leaves the rows' values as they are. */
export interface Sizes {
  readonly r?: readonly string[];
  readonly b?: readonly string[];
}

/** A table with one of its profiles. */
export interface ChosenTable {
  readonly table: Table;
  readonly profile: Profile;
}

/**
 * The table with the profile's rows at every requested r and b. α/r stays the same, and the learning rate is
 * the one tuned for the original row. A method without r or b keeps its single row. If a label exists
 * already, in the table or from an earlier row, it refers to that row. Throws a UsageError for a size that is
 * not a whole number ≥ 1 (b may be "auto").
 */
export function atSizes({ table, profile }: ChosenTable, { r = [], b = [] }: Sizes): ChosenTable {
  const ranks = r.map((text) => wholeNumber("r", text));
  const blocks = b.map((text) => text === "auto" ? text : wholeNumber("b", text));
  const variantsOf = (row: Row) =>
    variants(row, "r", ranks).flatMap((variant) => variants(variant, "blocks", blocks));
  const labels = new Set<string>();
  const rows = [...table.rows];
  for (const row of rowsOf(table, profile).flatMap(variantsOf)) {
    labels.add(row.label);
    if (rows.every(({ label }) => label !== row.label)) rows.push(row);
  }
  const reference = table.rows.find(({ label }) => label === table.reference)!;
  return {
    table: {
      ...table,
      rows,
      reference: labels.has(reference.label) ? reference.label : variantsOf(reference)[0].label,
    },
    profile: { ...profile, rows: [...labels] },
  };
}

function wholeNumber(option: string, text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  const auto = option === "b" ? ', or "auto"' : "";
  throw new UsageError(`--${option} wants a whole number from 1${auto}, not "${text}"`);
}

/** The row with each of the values in place of its own, or unchanged if its method does not have this size. */
function variants(row: Row, option: "r" | "blocks", values: readonly (number | "auto")[]): Row[] {
  if (values.length === 0 || !(option in methodByName(row.method).defaults)) return [row];
  return values.map((value) => ({
    ...row,
    label: relabelled(row.label, option === "r" ? "r" : "b", value),
    tunedAs: row.tunedAs ?? row.label,
    options: { ...row.options, [option]: value, ...(option === "r" ? scaledAlpha(row, Number(value)) : {}) },
  }));
}

/**
 * `LoRA r 8, α × 2.6` with r 16 becomes `LoRA r 16, α × 2.6`. If the label does not name the size, it is
 * appended.
 */
function relabelled(label: string, symbol: "r" | "b", value: number | "auto"): string {
  const named = new RegExp(`\\b${symbol} (\\d+|auto)\\b`);
  return named.test(label) ? label.replace(named, `${symbol} ${value}`) : `${label} ${symbol} ${value}`;
}

/** A label without its sizes: what rows at other sizes have in common. */
export function withoutSizes(label: string): string {
  return label.replaceAll(/ [rb] (\d+|auto)\b/g, "");
}

/** α for rank `r`, with the row's α/r. */
function scaledAlpha({ method, options }: Row, r: number): Record<string, OptionValue> {
  const own: Record<string, unknown> = { ...methodByName(method).defaults, ...options };
  return "alpha" in own ? { alpha: Number(own.alpha) * r / Number(own.r) } : {};
}
