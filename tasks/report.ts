/**
 * `deno task report [DIR…]`: renders every page again from its record, and merges the cells from several
 * shards or machines (`reproduce --shard i/n --out DIR`) into one set of tables. `--help` explains how.
 */

import { parseArgs } from "node:util";
import { isFile, makeParents, readText, writeTogether } from "../lib/files.ts";
import { named, type Page } from "../lib/report/page.ts";
import { CellStore } from "../lib/report/cell_store.ts";
import {
  cellsIn,
  type CellTable,
  folderOf,
  readCellTable,
  writeCellTable,
} from "../lib/report/cell_table.ts";
import { type DevLabels, metricsOnly, type StoredCell } from "../lib/report/schema.ts";
import { lockFor } from "./lock.ts";
import { outputFolder } from "./output.ts";
import { recordsIn } from "./pages/records.ts";
import {
  checkOneExperiment,
  isStudy,
  pageNameOf,
  settingsText,
  withRow,
  writeReport,
} from "./report_table.ts";
import { tables } from "./tables/registry.ts";
import type { Table } from "./tables/table.ts";
import { asUsage, runCommand } from "./usage.ts";

const help = `deno task report [DIR…] [options]

Renders every page again from the records in folders and their subfolders; nothing is measured. From several folders, the cells
of each table are merged. A cell that is in two folders must have the same scores in both, and the cells of one row and task
must have the same settings. Any other record may be in only one of the folders. What a record in the output folder holds is
never lost: give its folder as well to merge it.

  DIR         a folder that reproduce, bench or another command wrote (default: results)
  --out DIR   where to write (default: results)
  --help      this text
`;

/** A table's record and the store beside it. */
interface Found {
  readonly path: string;
  readonly record: CellTable;
  readonly store: CellStore;
}

/** A cell in a row, its labels, and the record that names it. */
interface FoundCell {
  readonly cell: StoredCell;
  readonly labels: DevLabels;
  readonly settings: string;
  readonly path: string;
}

/** Every cell of the records, by row and task. Throws as `cellsIn` does. */
async function cellsByRow(found: readonly Found[]): Promise<Map<string, FoundCell[]>> {
  const rows = new Map<string, FoundCell[]>();
  for (const { path, record, store } of found) {
    // Throws, before anything is written, where the store lacks a cell that the record names.
    await cellsIn(path, record, store);
    for (const { label, task, settings, seeds } of record.rows) {
      for (const cell of (await store.cellsOf(settings)).filter(({ seed }) => seeds.includes(seed))) {
        const row = `${task} / ${label}`;
        const labels = await store.labelsOf(cell);
        rows.set(row, [...rows.get(row) ?? [], { cell, labels, settings, path }]);
      }
    }
  }
  return rows;
}

/** Throws an Error that names both records if a row mixes two experiments, or if two have other scores. */
function refuseConflicts(rows: ReadonlyMap<string, readonly FoundCell[]>): void {
  for (const [row, [first, ...others]] of rows) {
    for (const other of others.filter(({ settings }) => settings !== first.settings)) {
      throw new Error(
        `${row} was made in two ways: ${first.path} has ${settingsText(first.cell)}, ${other.path} has ${
          settingsText(other.cell)
        }`,
      );
    }
  }
  for (const [row, cells] of rows) {
    for (const [seed, [first, ...others]] of Map.groupBy(cells, ({ cell }) => cell.seed)) {
      for (const other of others.filter(({ cell }) => metricsOnly([cell]) !== metricsOnly([first.cell]))) {
        throw new Error(
          `${row}, seed ${seed}: ${first.path} and ${other.path} have other scores: leave one of them out`,
        );
      }
    }
  }
}

/** The error of a record in the output folder that would be lost. */
function wouldBeLost(to: string): Error {
  return new Error(
    `${to}.json holds what the given folders do not: give its folder as well, move the file away, or use another --out`,
  );
}

/** Writes a record that is not made of cells, unless it is there already, and its page. */
async function writePage(page: Page, paths: readonly string[], to: string): Promise<void> {
  const [path, other] = paths;
  if (other) throw new Error(`${path} and ${other} cannot be merged: leave one of them out`);
  const files = await page.rendered(path);
  const record = await readText(path);
  if (await isFile(`${to}.json`) && await readText(`${to}.json`) !== record) throw wouldBeLost(to);
  await makeParents(to);
  await writeTogether({ [`${to}.json`]: record, ...named(files, to) });
  console.log(`Wrote ${to}.md`);
}

/** Writes a table's record and cells from all paths, and its page. */
async function writeTable(table: Table, paths: readonly string[], to: string): Promise<void> {
  await makeParents(to);
  if (paths.length > 1 || !await isSameFile(paths[0], `${to}.json`)) await mergeTable(table, paths, to);
  await writeReport(table, to);
}

/** Throws an Error where the record in the output folder names a cell that no found record names. */
function refuseLoss(earlier: CellTable, found: readonly Found[], to: string): void {
  const cellsOf = ({ rows }: CellTable) =>
    rows.flatMap(({ label, task, settings, seeds }) =>
      seeds.map((seed) => JSON.stringify([label, task, settings, seed]))
    );
  const kept = new Set(found.flatMap(({ record }) => cellsOf(record)));
  if (cellsOf(earlier).some((cell) => !kept.has(cell))) throw wouldBeLost(to);
}

/** Gathers the cells of all paths in the store beside `to`, and their rows in one record. */
async function mergeTable(table: Table, paths: readonly string[], to: string): Promise<void> {
  const found = await Promise.all(paths.map(async (path): Promise<Found> => ({
    path,
    record: await readCellTable(path),
    store: await CellStore.open(folderOf(path)),
  })));
  const foreign = found.find(({ record }) => record.profile !== found[0].record.profile);
  if (foreign) {
    throw new Error(
      `${found[0].path} is of the profile ${
        found[0].record.profile
      }, ${foreign.path} of ${foreign.record.profile}: leave one of them out`,
    );
  }
  const rows = await cellsByRow(found);
  refuseConflicts(rows);
  checkOneExperiment([...rows].flatMap(([label, own]) => own.map(({ cell }) => ({ ...cell, label }))));
  using _ = await lockFor(to);
  if (await isFile(`${to}.json`)) refuseLoss(await readCellTable(`${to}.json`), found, to);
  const store = await CellStore.open(folderOf(`${to}.json`));
  for (const { cell, labels } of [...rows.values()].flat()) await store.write(cell, labels);
  const record = found.flatMap(({ record }) => record.rows).reduce(
    (merged, row) => withRow(merged, row, table),
    { ...found[0].record, rows: [] } as CellTable,
  );
  await writeCellTable(`${to}.json`, record);
}

async function isSameFile(path: string, other: string): Promise<boolean> {
  return await isFile(other) && await Deno.realPath(path) === await Deno.realPath(other);
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
    const table = tables.find((table): table is Table => !isStudy(table) && pageNameOf(table) === page.name);
    if (table) await writeTable(table, paths, `${folder}/${place}`);
    else await writePage(page, paths, `${folder}/${place}`);
  }
}

await runCommand(main);
