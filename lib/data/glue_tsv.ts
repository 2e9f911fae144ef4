/** GLUE's original layout: one folder per task with tab-separated files. */

import type { GlueEntry } from "./glue_tasks.ts";
import { parseTsv, type TsvFile, type TsvRow } from "./tsv.ts";

/** One row of a GLUE file, from TSV or parquet. */
export interface GlueRow {
  /** Row number in the original file, from 0: the hub's `idx`, and the index in a submission. */
  readonly idx: number;
  readonly texts: readonly string[];
  /** Class id or score; −1 in a test file, as on the hub. */
  readonly label: number;
}

/** The columns of a file, and whether it has a header line. */
interface Layout {
  readonly names: readonly string[];
  readonly headerLines: 0 | 1;
}

/**
 * Reads a train or dev file (`labelled`), or a test file. QQP's published files contain rows that were split
 * by line breaks within questions: these are skipped in train and dev, as on the hub.
 * @throws Error that names the file and line for a wrong header, a row with too few or too many cells, an
 * empty text, a label that the task does not have, a last row that may be truncated, and what parseTsv
 * rejects.
 */
export function parseGlueTsv(
  entry: GlueEntry,
  bytes: Uint8Array,
  origin: string,
  labelled: boolean,
): GlueRow[] {
  const file = parseTsv(bytes, origin);
  const layout = layoutOf(entry, file.rows[0], origin, labelled);
  const skipsShort = labelled && entry.damaged === true;
  const body = file.rows.slice(layout.headerLines);
  const whole = body.filter(({ cells }, i) =>
    !(skipsShort && cells.length < layout.names.length && i < body.length - 1)
  );
  if (whole.length === 0) throw new Error(`${origin} has no rows: download or write it again`);
  const texts = entry.texts.map((name) => layout.names.indexOf(name));
  const label = layout.names.indexOf(entry.label);
  const rows = whole.map((row) => {
    const where = `${origin} line ${row.line}`;
    checkCells(row, layout, entry, where);
    return {
      idx: row.line - 1 - layout.headerLines,
      texts: texts.map((at) => textOf(row.cells[at], entry, layout.names[at], where)),
      label: labelled ? labelOf(entry, row.cells[label], where) : -1,
    };
  });
  checkEnd(file, entry, layout, origin, labelled);
  return rows;
}

/**
 * The header's columns; or, if line 1 is already a row (CoLA, and files cut from others), the default
 * columns.
 */
function layoutOf(entry: GlueEntry, first: TsvRow, origin: string, labelled: boolean): Layout {
  const wanted = labelled ? [...entry.texts, entry.label] : entry.texts;
  const { cells } = first;
  if (labelled && cells.length === entry.columns.length) {
    const cell = cells[entry.columns.indexOf(entry.label)];
    if (parseLabel(entry, cell) !== undefined) return { names: entry.columns, headerLines: 0 };
  }
  const missing = wanted.filter((name) => !cells.includes(name));
  if (missing.length > 0) {
    const usual = `${entry.name}'s files have ${entry.columns.join(", ")}`;
    throw new Error(
      `${origin} line 1 is no header with ${quote(missing)}${labelled ? ", nor a row" : ""} (${usual}): ` +
        `write the header as GLUE does, or download the file again`,
    );
  }
  const twice = wanted.filter((name) => cells.indexOf(name) !== cells.lastIndexOf(name));
  if (twice.length > 0) throw new Error(`${origin} line 1 names ${quote(twice)} twice: mend the header`);
  return { names: cells, headerLines: 1 };
}

function checkCells({ cells }: TsvRow, { names }: Layout, entry: GlueEntry, where: string): void {
  if (cells.length === names.length) return;
  throw new Error(
    `${where} has ${cells.length} cells where ${entry.name} has ${names.length} (${names.join(", ")}): ` +
      `the row is cut short, or has a tab too many; download the file again`,
  );
}

function textOf(text: string, entry: GlueEntry, column: string, where: string): string {
  if (text.trim() === "" && !entry.damaged) throw new Error(`${where} has an empty ${column}: mend the row`);
  return text;
}

/** A class id or a score; undefined for anything else. */
function parseLabel({ objective, written }: GlueEntry, cell: string): number | undefined {
  if (objective === "regression") {
    return /^\d+(\.\d+)?$/.test(cell) && Number(cell) <= 5 ? Number(cell) : undefined;
  }
  const id = written.indexOf(cell);
  return id < 0 ? undefined : id;
}

function labelOf(entry: GlueEntry, cell: string, where: string): number {
  const label = parseLabel(entry, cell);
  if (label === undefined) {
    const expected = entry.objective === "regression"
      ? "a number from 0 to 5"
      : `one of ${entry.written.join(", ")}`;
    throw new Error(`${where} has ${entry.label} ${quote([cell])}: expected ${expected}`);
  }
  return label;
}

/**
 * Throws an Error when the last row may be truncated. A truncated class name is recognised as invalid, but a
 * truncated text or score is not: if one of these is the last column, the file must end in a line feed.
 */
function checkEnd(file: TsvFile, entry: GlueEntry, layout: Layout, origin: string, labelled: boolean): void {
  const tells = labelled && layout.names.at(-1) === entry.label && entry.objective === "classification";
  if (file.endsInLineFeed || tells) return;
  throw new Error(
    `${origin} line ${file.rows.length} has no line feed, so the row may be cut short: ` +
      `download the file again, or end the line if the row is whole`,
  );
}

function quote(names: readonly string[]): string {
  return names.map((name) => JSON.stringify(name)).join(", ");
}
