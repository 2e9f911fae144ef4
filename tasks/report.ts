/**
 * `deno task report DIR…`: merges the cells that shards or machines wrote (`reproduce --shard i/n --out DIR`) into one set of
 * tables. `--help` says how.
 */

import { parseArgs } from "node:util";
import { type Cell, cellKey, metricsOnly, readCells, writeCells } from "../lib/report/schema.ts";
import { inOrder, isStudy, settingsText, writeReport } from "./report_table.ts";
import { tables } from "./tables/registry.ts";
import type { Table } from "./tables/table.ts";
import { outputFolder } from "./output.ts";
import { asUsage, runCommand, UsageError } from "./usage.ts";

const help = `deno task report DIR… [--out DIR]

Merges the result files of several folders, table by table, and writes the tables anew. A cell that two folders have must
have the same scores in both; cells of one row and task must have been made in one way.

  --out DIR   where to write (default: results)
  --help      this text
`;

/** A cell and the file it is from. */
interface Found {
  readonly cell: Cell;
  readonly path: string;
}

/** The cells of a table in every folder that has it. */
async function foundIn(folders: readonly string[], table: Table): Promise<Found[]> {
  const found: Found[] = [];
  for (const folder of folders) {
    const path = `${folder}/${table.name}.json`;
    try {
      found.push(...(await readCells(path)).map((cell) => ({ cell, path })));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return found;
}

/** One cell a key. Throws an Error that names both files where two disagree, or where a row would mix two experiments. */
function merged(found: readonly Found[]): Cell[] {
  const byKey = new Map<string, Found>();
  const byRow = new Map<string, Found>();
  for (const entry of found) {
    const { cell, path } = entry;
    const row = `${cell.task} / ${cell.label}`;
    const alike = byRow.get(row) ?? entry;
    byRow.set(row, alike);
    if (settingsText(alike.cell) !== settingsText(cell)) {
      throw new Error(
        `${row} was made in two ways: ${alike.path} has ${settingsText(alike.cell)}, ${path} has ${
          settingsText(cell)
        }`,
      );
    }
    const key = cellKey(cell);
    const known = byKey.get(key) ?? entry;
    byKey.set(key, known);
    if (metricsOnly([known.cell]) !== metricsOnly([cell])) {
      throw new Error(
        `${row}, seed ${cell.seed}: ${known.path} and ${path} have other scores: leave one of them out`,
      );
    }
  }
  return [...byKey.values()].map(({ cell }) => cell);
}

async function main(): Promise<void> {
  const { values: { out, help: wanted }, positionals: folders } = asUsage(() =>
    parseArgs({
      allowPositionals: true,
      options: { out: { type: "string", default: "results" }, help: { type: "boolean", default: false } },
    })
  );
  if (wanted) return console.log(help);
  if (folders.length === 0) throw new UsageError(`no folder given\n\n${help}`);
  const sets: { table: Table; cells: Cell[] }[] = [];
  for (const table of tables) {
    if (isStudy(table)) continue;
    const found = await foundIn(folders, table);
    if (found.length > 0) sets.push({ table, cells: inOrder(merged(found), table) });
  }
  if (sets.length === 0) {
    throw new Error(`no table's cells in ${folders.join(", ")}: give the folders that --out named`);
  }
  const folder = await outputFolder(out);
  for (const { table, cells } of sets) {
    await writeCells(`${folder}/${table.name}.json`, cells);
    await writeReport(table, cells, `${folder}/${table.name}`);
  }
}

await runCommand(main);
