/** GLUE as the hub's data set `nyu-mll/glue` ships it: one folder a task, its splits in parquet files. */

import { parquetMetadata, parquetReadObjects, parquetSchema } from "npm:hyparquet@1.31.5";
import { compressors } from "npm:hyparquet-compressors@1.1.2";
import type { GlueEntry } from "./glue_tasks.ts";
import type { GlueRow } from "./glue_tsv.ts";

/**
 * The rows of `split` (train, validation, test, validation_matched, …) in `folder`, from all its shards
 * `<split>-00000-of-00002.parquet`, …. Throws an Error that names the file, and the row where there is one, for a missing
 * shard, a file that is damaged, a missing column, and a text or label that is not as the task has it.
 */
export async function readGlueParquet(
  entry: GlueEntry,
  folder: string,
  split: string,
  labelled: boolean,
): Promise<GlueRow[]> {
  const rows: GlueRow[] = [];
  for (const path of await shardsOf(folder, split)) {
    const file = await asDamage(path, () => readBounded(path));
    for (const [i, row] of (await readRows(entry, file, path)).entries()) {
      rows.push(glueRow(entry, row, `${path} row ${i}`, labelled));
    }
  }
  if (rows.length === 0) throw new Error(`${folder}/${split}-*.parquet has no rows: download it again`);
  return rows;
}

/** The split's files in order. */
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

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The most bytes of a file, its footer and one page unpacked: far beyond GLUE's, so that no file asks for all of the memory. */
const most = { file: 2 ** 30, footer: 2 ** 24, page: 2 ** 28 };

/** The library's, which unpack as much as a page's header says. */
const boundedCompressors = Object.fromEntries(
  Object.entries(compressors).map(([codec, unpack]) => [
    codec,
    (bytes: Uint8Array, size: number) => {
      if (size <= most.page) return unpack(bytes, size);
      throw new Error(`a page unpacks to ${size} bytes, and ${most.page} are the most`);
    },
  ]),
);

/** Throws for a file, or a footer by what the file's end says, that is beyond the bounds. */
async function readBounded(path: string): Promise<ArrayBuffer> {
  const { size } = await Deno.stat(path);
  if (size > most.file) throw new Error(`it has ${size} bytes, and ${most.file} are the most`);
  const { buffer } = await Deno.readFile(path);
  const footer = size < 8 ? 0 : new DataView(buffer).getUint32(size - 8, true);
  if (footer > most.footer) {
    throw new Error(`its footer has ${footer} bytes, and ${most.footer} are the most`);
  }
  return buffer;
}

async function readRows(
  entry: GlueEntry,
  file: ArrayBuffer,
  path: string,
): Promise<Record<string, unknown>[]> {
  const columns = [...entry.hubTexts, "label", "idx"];
  const metadata = await asDamage(path, () => parquetMetadata(file));
  const present = parquetSchema(metadata).children.map(({ element }) => element.name);
  const missing = columns.filter((name) => !present.includes(name));
  if (missing.length > 0) {
    throw new Error(
      `${path} has no column ${missing.join(", ")} (it has ${present.join(", ")}): ` +
        `take the files of ${entry.hub} in nyu-mll/glue`,
    );
  }
  const parsers = { stringFromBytes: (bytes: Uint8Array) => bytes && utf8.decode(bytes) };
  return await asDamage(
    path,
    () => parquetReadObjects({ file, metadata, columns, compressors: boundedCompressors, parsers }),
  );
}

/** `body`'s result; what the library throws at a damaged file is given the file's name. */
async function asDamage<T>(path: string, body: () => T | Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (cause) {
    throw new Error(`${path} is not readable as parquet: ${(cause as Error).message}: download it again`, {
      cause,
    });
  }
}

function glueRow(entry: GlueEntry, row: Record<string, unknown>, where: string, labelled: boolean): GlueRow {
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

/** A class id, which is an int64 (a bigint here) or narrower, or a score. */
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
  return label;
}

function show(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}
