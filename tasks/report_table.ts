/** Writes a table's files from finished cells. */

import { basename } from "node:path";
import { writeTogether } from "../lib/files.ts";
import { type CellRow, type CellTable, readCells } from "../lib/report/cell_table.ts";
import { cellsBySet } from "../lib/report/cells_by_set.ts";
import { comparisonSections } from "../lib/report/comparison.ts";
import { escapedRecord, renderMarkdown } from "../lib/report/markdown.ts";
import { named, type Page, type PageFiles } from "../lib/report/page.ts";
import type { Cell, Settings } from "../lib/report/schema.ts";
import { withoutSizes } from "./sizes.ts";
import type { Study, Table } from "./tables/table.ts";
import { ratesText } from "./training.ts";

/** True for a study, which runs and reports itself. */
export function isStudy(table: Table | Study): table is Study {
  return "run" in table;
}

/** Settings as text, for messages that tell two experiments apart. */
export function settingsText(
  { model, modelDigest, dataDigest, options, target, training, trainExamples, devExamples, golden }: Settings,
): string {
  const [weights, data, bits] = [modelDigest, dataDigest, golden].map((digest) => digest.slice(0, 12));
  return JSON.stringify({
    model,
    weights,
    data,
    options,
    target,
    ...training,
    trainExamples,
    devExamples,
    bits,
  });
}

/** The record with one more row, or with more seeds of a row that it has; in the table's order. */
export function withRow(record: CellTable, row: CellRow, table: Table): CellTable {
  const isSame = ({ label, task }: CellRow) => label === row.label && task === row.task;
  const known = record.rows.find(isSame)?.seeds ?? [];
  const seeds = [...new Set([...known, ...row.seeds])].toSorted((a, b) => a - b);
  return {
    ...record,
    rows: inOrder([...record.rows.filter((other) => !isSame(other)), { ...row, seeds }], table),
  };
}

/** Sorts rows in the table's order: tasks as in its longest profile, then rows. Unknown ones come last. */
function inOrder(found: readonly CellRow[], { rows, profiles }: Table): CellRow[] {
  const tasks = Object.values(profiles).reduce<readonly string[]>(
    (longest, profile) => profile.tasks.length > longest.length ? profile.tasks : longest,
    [],
  );
  const placeIn = (found: number) => found < 0 ? 999 : found;
  const place = ({ task, label }: CellRow) =>
    placeIn(tasks.indexOf(task)) * 1e3 + placeIn(rows.findIndex((row) => row.label === label));
  return found.toSorted((a, b) => place(a) - place(b));
}

/** The finding, if there is a cell of every row of the profile. */
function hereOf({ rows, finding, profiles }: Table, cells: readonly Cell[]): string {
  const labels = profiles[cells[0].profile]?.rows ?? rows.map(({ label }) => label);
  const missing = labels.filter((label) => cells.every((cell) => cell.label !== label)).length;
  return missing > 0 ? `${missing} of ${labels.length} rows were not run.` : finding!.here(cells);
}

/** True if two cells may be in one table: of one model, and on one task of the same data and, if both are trained, for as long. */
export function areOfOneExperiment(own: Settings, other: Settings): boolean {
  if (own.modelDigest !== other.modelDigest) return false;
  if (own.task !== other.task) return true;
  const [a, b] = [own.training, other.training];
  const sameLength = a.epochs === b.epochs && a.batchSize === b.batchSize;
  return own.dataDigest === other.dataDigest && own.trainExamples === other.trainExamples &&
    own.devExamples === other.devExamples && (sameLength || a.epochs === 0 || b.epochs === 0);
}

/** Throws an Error that names two rows whose cells may not be in one table. */
export function checkOneExperiment(cells: readonly (Settings & { readonly label: string })[]): void {
  for (const cell of cells) {
    const foreign = cells.find((other) => !areOfOneExperiment(cell, other));
    if (!foreign) continue;
    throw new Error(
      `"${cell.label}" and "${foreign.label}" are of two experiments, ${settingsText(cell)} and ${
        settingsText(foreign)
      }: keep them in two folders`,
    );
  }
}

/** The name of a table's page: see `Page`. */
export function pageNameOf({ name, decoder }: Table): string {
  return decoder === undefined ? name : `${name}-`;
}

/** The page of a table, made from its record and the cells in the store beside it. */
export function tablePage(table: Table): Page {
  return {
    name: pageNameOf(table),
    async rendered(path) {
      const cells = await readCells(path);
      if (cells.length === 0) throw new Error(`${path} names no cell: run ${table.name} again`);
      return await filesOf(table, cells, basename(path, ".json"));
    },
  };
}

/** Writes `<path>.md` and its charts, from the record at `<path>.json` and its cells. */
export async function writeReport(table: Table, path: string): Promise<void> {
  const files = await tablePage(table).rendered(`${path}.json`);
  await writeTogether(named(files, path));
  console.log(`\n${files[".md"]}\nWrote ${path}.md, .json and .svg`);
}

/** The row that the others are compared with: the table's, or where it was run at other sizes alone (--r, --b) the first of these. */
function referenceOf({ reference }: Table, cells: readonly Cell[]): string {
  const labels = new Set(cells.map(({ label }) => label));
  if (labels.has(reference)) return reference;
  return [...labels].find((label) => withoutSizes(label) === withoutSizes(reference)) ?? reference;
}

/** The page's files; `file` is the start of their names. */
async function filesOf(table: Table, cells: readonly Cell[], file: string): Promise<PageFiles> {
  checkOneExperiment(cells);
  const charts = table.charts(cellsBySet(cells));
  const shown = escapedRecord(cells);
  const bySet = cellsBySet(shown);
  const reference = referenceOf(table, bySet);
  const images = charts.map(({ name, caption }) => `![${caption}](${file}${name}.svg)`);
  const sections = [
    ...(table.finding ? [`**The paper:** ${table.finding.paper}\n\n**Here:** ${hereOf(table, bySet)}`] : []),
    ...(await table.sections?.(bySet) ?? comparisonSections(reference, bySet)),
    ...images,
  ];
  const markdown = renderMarkdown(table.title, shown, ratesText(table, cells), sections, table.data?.setting);
  const drawn: Record<string, string> = {};
  for (const { name, svg } of charts) drawn[`${name}.svg`] = await svg();
  return { ...drawn, ".md": markdown };
}
