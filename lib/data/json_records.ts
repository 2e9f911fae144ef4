/** JSON objects of a file, each with its line: one a line in `.jsonl`, or a list of them in `.json`. Numbers stay as written. */

import { readText } from "../files.ts";
import { type JsonFields, jsonTokens, NoObjectError, parseFields } from "./json_fields.ts";

/** One object. */
export interface JsonRecord {
  /** File and the line that it begins on, for error messages. */
  readonly where: string;
  readonly fields: JsonFields;
}

/**
 * Reads the records of the file at `path`.
 * @throws Error that names the file, and the line if there is one, for another extension, text that is not UTF-8, malformed JSON,
 * anything but objects, a duplicate key, and a file without records.
 */
export async function readJsonRecords(path: string): Promise<JsonRecord[]> {
  const kind = path.match(/\.(jsonl|json)$/i)?.[1].toLowerCase();
  if (kind === undefined) {
    throw new Error(`${path} is no JSON that can be read here: its name must end in .jsonl or .json`);
  }
  const text = await readText(path);
  const records = kind === "jsonl" ? jsonLines(path, text) : listed(path, text);
  if (records.length === 0) throw new Error(`${path} has no records: write some`);
  return records;
}

/** The records of a `.jsonl` file; blank lines are skipped. Throws as `readJsonRecords` does. */
export function jsonLines(path: string, text: string): JsonRecord[] {
  return text.split(/\r\n|\r|\n/).flatMap((line, i) =>
    line.trim() === "" ? [] : [recordOf(line, `${path} line ${i + 1}`)]
  );
}

function recordOf(json: string, where: string): JsonRecord {
  try {
    return { where, fields: parseFields(json) };
  } catch (error) {
    if (error instanceof NoObjectError) {
      throw new Error(`${where} is no JSON object: write such as {"text": "…", "label": "…"}`);
    }
    throw new Error(`${where} is not JSON: ${(error as Error).message}`, { cause: error });
  }
}

function listed(path: string, text: string): JsonRecord[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (error) {
    throw new Error(`${path} is not JSON, or is cut short: ${(error as Error).message}`, { cause: error });
  }
  if (!Array.isArray(list)) {
    throw new Error(`${path} is no list of records: write […], or one a line in .jsonl`);
  }
  return elementsOf(text).map(({ json, line }) => recordOf(json, `${path} line ${line}`));
}

/** The elements of a valid list as they are written, with their lines. */
function elementsOf(text: string): { readonly json: string; readonly line: number }[] {
  const found: { json: string; line: number }[] = [];
  let depth = 0;
  let begin: number | undefined;
  let line = 1;
  let counted = 0;
  const add = (end: number) => {
    if (begin === undefined) return;
    line += text.slice(counted, begin).match(/\r\n|\r|\n/g)?.length ?? 0;
    counted = begin;
    found.push({ json: text.slice(begin, end), line });
    begin = undefined;
  };
  for (const { token, index } of jsonTokens(text)) {
    if (depth === 1 && (token === "," || token === "]")) add(index);
    else if (depth >= 1) begin ??= index;
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
  }
  return found;
}
