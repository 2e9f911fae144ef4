/**
 * GLUE in the format of the hub's data set `nyu-mll/glue`: one folder per task with its splits in parquet
 * files.
 */

import type { GlueEntry } from "./glue_tasks.ts";
import type { GlueRow } from "./glue_tsv.ts";
import { type ParquetAnswer, readParquet } from "./parquet_file.ts";

/**
 * Reads the rows of `split` (train, validation, test, validation_matched, …) in `folder` from all its shards
 * `<split>-00000-of-00002.parquet`, ….
 * @throws Error that names the file, and the row if there is one, for a missing shard, a damaged file, a
 * missing column, and a text or label that does not fit the task.
 */
export async function readGlueParquet(
  entry: GlueEntry,
  folder: string,
  split: string,
  labelled: boolean,
): Promise<GlueRow[]> {
  const rows: GlueRow[] = [];
  for (const path of await shardsOf(folder, split)) {
    for (const [i, row] of (await readRows(entry, path)).entries()) {
      rows.push(glueRow(entry, row, `${path} row ${i}`, labelled));
    }
  }
  if (rows.length === 0) throw new Error(`${folder}/${split}-*.parquet has no rows: download it again`);
  return rows;
}

/** The files of the split, in order. */
async function shardsOf(folder: string, split: string): Promise<string[]> {
  const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
  const shards = names.filter((name) =>
    name.startsWith(`${split}-`) && /^\d{5}-of-\d{5}\.parquet$/.test(name.slice(split.length + 1))
  ).sort();
  const count = Number(shards[0]?.slice(-"00001.parquet".length, -".parquet".length) ?? 1);
  for (let i = 0; i < count; i++) {
    const wanted = `${split}-${fiveDigits(i)}-of-${fiveDigits(count)}.parquet`;
    if (shards[i] !== wanted) throw new Error(`${folder}/${wanted} is missing: download it`);
  }
  if (shards.length > count) throw new Error(`${folder}/${shards[count]} is one too many: remove it`);
  return shards.map((name) => `${folder}/${name}`);
}

function fiveDigits(n: number): string {
  return String(n).padStart(5, "0");
}

async function readRows(entry: GlueEntry, path: string): Promise<ParquetAnswer["rows"]> {
  const columns = [...entry.hubTexts, "label", "idx"];
  const { present, rows } = await readParquet(path, columns);
  const missing = columns.filter((name) => !present.includes(name));
  if (missing.length === 0) return rows;
  throw new Error(
    `${path} has no column ${missing.join(", ")} (it has ${present.join(", ")}): ` +
      `take the files of ${entry.hub} in nyu-mll/glue`,
  );
}

function glueRow(
  entry: GlueEntry,
  row: Readonly<Record<string, unknown>>,
  where: string,
  labelled: boolean,
): GlueRow {
  const texts = entry.hubTexts.map((name) => {
    const text = row[name];
    if (typeof text !== "string" || (text.trim() === "" && !entry.damaged)) {
      throw new Error(`${where} has ${name} ${show(text)}: expected a text`);
    }
    return text;
  });
  const idx = Number(row.idx);
  if (!Number.isSafeInteger(idx) || idx < 0) {
    throw new Error(`${where} has idx ${show(row.idx)}: expected a whole number`);
  }
  return { idx, texts, label: labelled ? labelOf(entry, row.label, where) : -1 };
}

/** A class id (int64, a bigint here, or narrower) or a score. */
function labelOf({ objective, labels }: GlueEntry, value: unknown, where: string): number {
  const label = typeof value === "bigint" ? Number(value) : value;
  const fits = typeof label === "number" &&
    (objective === "regression"
      ? label >= 0 && label <= 5
      : Number.isInteger(label) && label >= 0 && label < labels.length);
  if (!fits) {
    const expected = objective === "regression"
      ? "a number from 0 to 5"
      : `0 … ${labels.length - 1}; the test split has no labels`;
    throw new Error(`${where} has label ${show(value)}: expected ${expected}`);
  }
  return objective === "regression" ? decimalOf(label) : label;
}

/** The shortest decimal number that a float32 stands for: the score 4.2 of a TSV file is 4.199999809265137 there. */
function decimalOf(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const decimal = Number(value.toPrecision(digits));
    if (Math.fround(decimal) === value) return decimal;
  }
  return value;
}

function show(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}
