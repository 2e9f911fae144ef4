/** The record of a table: which cells of the store beside it are its rows. */

import * as v from "npm:valibot@1.5.0";
import { fitting, makeParents, readAnyJson, writeWhole } from "../files.ts";
import { CellStore } from "./cell_store.ts";
import type { Cell, DevLabels, StoredCell } from "./schema.ts";

/** A table's record. */
export const cellTableSchema = v.object({
  schemaVersion: v.literal(2),
  table: v.string(),
  profile: v.string(),
  /** A row on one task: the digest of its cells' settings, and the seeds that are finished. */
  rows: v.array(v.object({
    label: v.string(),
    task: v.string(),
    settings: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "a SHA-256 in hexadecimal digits is wanted")),
    seeds: v.array(v.pipe(v.number(), v.integer(), v.minValue(0))),
  })),
});

/** A table's record. */
export type CellTable = v.InferOutput<typeof cellTableSchema>;
/** A row of a table on one task. */
export type CellRow = CellTable["rows"][number];

const advice = "make it again (reproduce: run without --resume)";

/** Reads a table's record. Throws an Error that names the file and the wrong field. */
export async function readCellTable(path: string): Promise<CellTable> {
  return fitting(path, cellTableSchema, await readAnyJson(path, advice));
}

/** Writes a table's record. */
export async function writeCellTable(path: string, table: CellTable): Promise<void> {
  await makeParents(path);
  await writeWhole(path, `${JSON.stringify(table, null, 1)}\n`);
}

/** The cells of the table whose record is at `path`, in its order. Throws an Error that names a damaged file. */
export async function readCells(path: string): Promise<Cell[]> {
  const table = await readCellTable(path);
  return await cellsIn(path, table, await CellStore.open(folderOf(path)));
}

/**
 * The cells of the table whose record is at `path`, row by row. Throws an Error that names the row when the store lacks one, and the
 * file when one is damaged.
 */
export async function cellsIn(
  path: string,
  { table, profile, rows }: CellTable,
  store: CellStore,
): Promise<Cell[]> {
  const known = new Map<string, Promise<DevLabels>>();
  const labelsOf = (cell: StoredCell) => {
    const labels = known.get(cell.dataDigest) ?? store.labelsOf(cell);
    known.set(cell.dataDigest, labels);
    return labels;
  };
  const found = await Promise.all(rows.map(async ({ label, task, settings, seeds }) => {
    const cells = await store.cellsOf(settings);
    return await Promise.all(seeds.map(async (seed): Promise<Cell> => {
      const cell = cells.find((cell) => cell.seed === seed);
      if (cell) return { ...cell, table, profile, label, labels: await labelsOf(cell) };
      throw new Error(
        `${store.folder} has no cell of ${label} on ${task} with seed ${seed}, which ${path} names: run ${table} again with --resume`,
      );
    }));
  }));
  return found.flat();
}

/** The folder of a table's record. */
export function folderOf(path: string): string {
  return path.replace(/[^/\\]+$/, "").replace(/(?<=.)[/\\]$/, "") || ".";
}
