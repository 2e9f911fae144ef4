/**
 * `deno task report [DIR…]`: renders every page again from its record, and merges the cells from several
 * shards or machines (`reproduce --shard i/n --out DIR`) into one set of tables. `--help` explains how.
 */

import { parseArgs } from "node:util";
import { makeParents, readText, writeTogether } from "../lib/files.ts";
import { named, type Page } from "../lib/report/page.ts";
import { type Cell, cellKey, metricsOnly, readCells, writeCells } from "../lib/report/schema.ts";
import { outputFolder } from "./output.ts";
import { recordsIn } from "./pages/records.ts";
import { inOrder, isStudy, settingsText, writeReport } from "./report_table.ts";
import { tables } from "./tables/registry.ts";
import type { Table } from "./tables/table.ts";
import { asUsage, runCommand } from "./usage.ts";

const help = `deno task report [DIR…] [options]

Renders every page again from the records in folders and their subfolders; nothing is measured. From several folders, the cells
of each table are merged. A cell that is in two folders must have the same scores in both, and the cells of one row and task
must have the same settings. Any other record may be in only one of the folders.

  DIR         a folder that reproduce, bench or another command wrote (default: results)
  --out DIR   where to write (default: results)
  --help      this text
`;

/** A cell and its file. */
interface Found {
  readonly cell: Cell;
  readonly path: string;
}

/**
 * Merges to one cell per key. Throws an Error that names both files if two disagree, or if a row would mix
 * two experiments.
 */
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

/** Writes a record that is not made of cells, unless it is there already, and its page. */
async function writePage(page: Page, paths: readonly string[], to: string): Promise<void> {
  const [path, other] = paths;
  if (other) throw new Error(`${path} and ${other} cannot be merged: leave one of them out`);
  const files = await page.rendered(path);
  const record = { [`${to}.json`]: await readText(path) };
  await makeParents(to);
  await writeTogether({ ...record, ...named(files, to) });
  console.log(`Wrote ${to}.md`);
}

/** Writes a table's cells from all paths, and its page. */
async function writeTable(table: Table, paths: readonly string[], to: string): Promise<void> {
  const found = await Promise.all(
    paths.map(async (path) => (await readCells(path)).map((cell): Found => ({ cell, path }))),
  );
  const cells = inOrder(merged(found.flat()), table);
  await makeParents(to);
  await writeCells(`${to}.json`, cells);
  await writeReport(table, cells, to);
}

async function main(): Promise<void> {
  const { values: { out, help: wanted }, positionals } = asUsage(() =>
    parseArgs({
      allowPositionals: true,
      options: { out: { type: "string", default: "results" }, help: { type: "boolean", default: false } },
    })
  );
  if (wanted) return console.log(help);
  const folders = positionals.length > 0 ? positionals : ["results"];
  const records = (await Promise.all(folders.map((folder) => recordsIn(folder)))).flat();
  if (records.length === 0) {
    throw new Error(`no record of a page in ${folders.join(", ")}: give the folders that --out named`);
  }
  const folder = await outputFolder(out);
  for (const [place, own] of Map.groupBy(records, ({ place }) => place)) {
    const [{ page }] = own;
    const paths = own.map(({ path }) => path);
    const table = tables.find(({ name }) => name === page.name);
    if (table && !isStudy(table)) await writeTable(table, paths, `${folder}/${place}`);
    else await writePage(page, paths, `${folder}/${place}`);
  }
}

await runCommand(main);
