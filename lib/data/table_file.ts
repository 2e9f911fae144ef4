/**
 * Reads columns from the user's tables: `.csv`, and `.tsv` without quoting as GLUE ships it, both with a
 * header and parsed as by Python's `csv` (see `delimited.ts`); and `.jsonl`, one object per line. A
 * byte-order mark is dropped, and blank lines are skipped.
 */

import { readText } from "../files.ts";
import { type DelimitedRow, parseDelimited } from "./delimited.ts";
import type { JsonFields } from "./json_fields.ts";
import { jsonLines } from "./json_records.ts";

/** One record. */
export interface TableRow {
  /** File and line, for error messages; for a record that spans several lines, the last one. */
  readonly where: string;
  /** The cells of the requested columns, in that order. */
  readonly cells: readonly string[];
}

/**
 * Reads `columns` of the file at `path`. Numbers and booleans in `.jsonl` are kept as written: all digits of
 * 12345678901234567890, and 1.0 as a different text than 1.
 * @throws Error that names the file, and the line if there is one, for another extension, text that is not
 * UTF-8, a malformed record, a header among the records, a cell of a `.tsv` that is quoted all the same, a
 * missing or duplicate column, and a file without records.
 */
export async function readTable(path: string, columns: readonly string[]): Promise<TableRow[]> {
  const rows = await readRows(path, columns);
  if (rows.length === 0) throw new Error(`${path} has no records: write some below the header`);
  return rows;
}

async function readRows(path: string, columns: readonly string[]): Promise<TableRow[]> {
  const kind = path.match(/\.(tsv|csv|jsonl)$/i)?.[1].toLowerCase();
  if (kind === undefined) {
    throw new Error(`${path} is no table that can be read here: its name must end in .tsv, .csv or .jsonl`);
  }
  const text = await readText(path);
  if (kind === "jsonl") {
    return jsonLines(path, text).map(({ where, fields }) => ({
      where,
      cells: columns.map((name) => textOf(fields, name, where)),
    }));
  }
  const dialect = kind === "csv" ? { delimiter: ",", quoting: true } : { delimiter: "\t", quoting: false };
  return choose(path, parseDelimited(text, dialect, path), columns, kind === "tsv");
}

/** Selects `columns` from the rows; the first row is the header. */
function choose(
  path: string,
  [header, ...rows]: readonly DelimitedRow[],
  columns: readonly string[],
  isTsv: boolean,
): TableRow[] {
  if (!header) throw new Error(`${path}: the file is empty: write a header and records`);
  const where = `${path} line ${header.line}`;
  const places = columns.map((name) => {
    const at = header.cells.indexOf(name);
    if (at < 0) {
      throw new Error(`${where} has no column ${quote(name)}; it has ${header.cells.map(quote).join(", ")}`);
    }
    if (header.cells.lastIndexOf(name) !== at) {
      throw new Error(`${where} has the column ${quote(name)} twice: rename one`);
    }
    return at;
  });
  return rows.map(({ line, cells }) => {
    const where = `${path} line ${line}`;
    if (cells.length !== header.cells.length) {
      throw new Error(
        `${where} has ${cells.length} cells, and the header ${header.cells.length}: mend the row`,
      );
    }
    if (cells.every((cell, i) => cell.replace(/^\ufeff/, "") === header.cells[i])) {
      throw new Error(`${where} is the header once more, as where two files were joined: take it out`);
    }
    const own = places.map((at) => cells[at]);
    const quoted = isTsv ? own.find(isQuoted) : undefined;
    if (quoted !== undefined) {
      const what = "and quotes are ordinary text in a .tsv: write it without them, or write a .csv";
      throw new Error(`${where} has a quoted cell that begins with ${quote(quoted.slice(0, 20))}, ${what}`);
    }
    return { where, cells: own };
  });
}

/** True for a cell in quotes with doubled ones inside, as programs write it that take a `.tsv` for a `.csv` with tabs. */
function isQuoted(cell: string): boolean {
  if (cell.length < 4 || !cell.startsWith('"') || !cell.endsWith('"')) return false;
  const inside = cell.slice(1, -1);
  return inside.includes('""') && !inside.replaceAll('""', "").includes('"');
}

function textOf(record: JsonFields, name: string, where: string): string {
  const value = record.get(name);
  if (!value) {
    throw new Error(`${where} has no ${quote(name)}; it has ${[...record.keys()].map(quote).join(", ")}`);
  }
  if (value.isString || !/^(null|[{[])/.test(value.text)) return value.text;
  throw new Error(`${where}: ${quote(name)} is ${value.text}: write a string, a number or a boolean`);
}

function quote(text: string): string {
  return JSON.stringify(text);
}
