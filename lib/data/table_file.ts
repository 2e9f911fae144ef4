/**
 * Columns of tables that users bring: `.tsv` as GLUE ships it (see `tsv.ts`), `.csv` (RFC 4180), both with a header, and
 * `.jsonl`, an object a line.
 */

import { readBytes, readText } from "../files.ts";
import { parseTsv } from "./tsv.ts";

/** One record. */
export interface TableRow {
  /** File and line, for messages; of a record over several lines, the last one. */
  readonly where: string;
  /** The columns that were asked for, in that order. */
  readonly cells: readonly string[];
}

/**
 * Reads `columns` of the file at `path`. Numbers and booleans of a `.jsonl` come as JSON writes them.
 * @throws Error naming the file, and the line where there is one, for another extension, text that is not UTF-8, a broken
 * record, a column that is missing or there twice, and a file without records.
 */
export async function readTable(path: string, columns: readonly string[]): Promise<TableRow[]> {
  const rows = await readRows(path, columns);
  if (rows.length === 0) throw new Error(`${path} has no records: write some below the header`);
  return rows;
}

async function readRows(path: string, columns: readonly string[]): Promise<TableRow[]> {
  switch (path.match(/\.(tsv|csv|jsonl)$/i)?.[1].toLowerCase()) {
    case "tsv":
      return choose(path, readTsv(path, await readBytes(path)), columns);
    case "csv":
      return choose(path, await readCsv(path, await readText(path)), columns);
    case "jsonl":
      return readJsonLines(path, await readText(path), columns);
    default:
      throw new Error(`${path} is no table that can be read here: its name must end in .tsv, .csv or .jsonl`);
  }
}

function readTsv(path: string, bytes: Uint8Array): TableRow[] {
  const { rows } = parseTsv(bytes, path);
  return rows.map(({ line, cells }) => {
    const where = `${path} line ${line}`;
    if (cells.length !== rows[0].cells.length) {
      throw new Error(
        `${where} has ${cells.length} cells, and the header ${rows[0].cells.length}: mend the row`,
      );
    }
    return { where, cells };
  });
}

async function readCsv(path: string, text: string): Promise<TableRow[]> {
  const { parse } = await import("./csv.ts");
  const rows: TableRow[] = [];
  const keep = (cells: string[], { lines }: { readonly lines: number }) => {
    rows.push({ where: `${path} line ${lines}`, cells });
    return null;
  };
  try {
    parse(text, { skip_empty_lines: true, on_record: keep });
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
  }
  return rows;
}

/** The rows under the header, which is the first. */
function choose(
  path: string,
  [header, ...rows]: readonly TableRow[],
  columns: readonly string[],
): TableRow[] {
  if (!header) throw new Error(`${path}: the file is empty: write a header and records`);
  const places = columns.map((name) => {
    const at = header.cells.indexOf(name);
    if (at < 0) {
      throw new Error(
        `${header.where} has no column ${quote(name)}; it has ${header.cells.map(quote).join(", ")}`,
      );
    }
    if (header.cells.lastIndexOf(name) !== at) {
      throw new Error(`${header.where} has the column ${quote(name)} twice: rename one`);
    }
    return at;
  });
  return rows.map(({ where, cells }) => ({ where, cells: places.map((at) => cells[at]) }));
}

function readJsonLines(path: string, text: string, columns: readonly string[]): TableRow[] {
  return text.split("\n").flatMap((line, i) => {
    if (line.trim() === "") return [];
    const where = `${path} line ${i + 1}`;
    const record = parseRecord(line, where);
    return [{ where, cells: columns.map((name) => textOf(record, name, where)) }];
  });
}

function parseRecord(line: string, where: string): Readonly<Record<string, unknown>> {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (error) {
    throw new Error(`${where} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  if (json === null || typeof json !== "object" || Array.isArray(json)) {
    throw new Error(`${where} is no JSON object: write one a line, such as {"text": "…", "label": "…"}`);
  }
  return json as Readonly<Record<string, unknown>>;
}

function textOf(record: Readonly<Record<string, unknown>>, name: string, where: string): string {
  if (!Object.hasOwn(record, name)) {
    throw new Error(`${where} has no ${quote(name)}; it has ${Object.keys(record).map(quote).join(", ")}`);
  }
  const value = record[name];
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw new Error(
    `${where}: ${quote(name)} is ${JSON.stringify(value)}: write a string, a number or a boolean`,
  );
}

function quote(text: string): string {
  return JSON.stringify(text);
}
