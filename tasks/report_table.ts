/** Writes a table's files from finished cells. */

import * as v from "npm:valibot@1.5.0";
import { writeTogether } from "../lib/files.ts";
import { escapedRecord, renderMarkdown } from "../lib/report/markdown.ts";
import { definePage, named, type Page, type PageFiles } from "../lib/report/page.ts";
import { type Cell, cellSchema } from "../lib/report/schema.ts";
import type { Study, Table } from "./tables/table.ts";

/** True for a study, which runs and reports itself. */
export function isStudy(table: Table | Study): table is Study {
  return "run" in table;
}

/** The settings that the cells of one row on one task must share to be averaged. */
export type Settings = Pick<
  Cell,
  "profile" | "model" | "learningRate" | "options" | "target" | "trainExamples" | "devExamples"
>;

/** Settings as text, for comparisons and messages. */
export function settingsText(
  { profile, model, learningRate, options, target, trainExamples, devExamples }: Settings,
): string {
  return JSON.stringify({ profile, model, learningRate, options, target, trainExamples, devExamples });
}

/**
 * Sorts cells in the table's order: tasks as in its longest profile, then rows, then seeds. Unknown ones come
 * last.
 */
export function inOrder(cells: readonly Cell[], { rows, profiles }: Table): Cell[] {
  const tasks = Object.values(profiles).reduce<readonly string[]>(
    (longest, profile) => profile.tasks.length > longest.length ? profile.tasks : longest,
    [],
  );
  const placeIn = (found: number) => found < 0 ? 999 : found;
  const place = ({ task, label, seed }: Cell) =>
    (placeIn(tasks.indexOf(task)) * 1e3 + placeIn(rows.findIndex((row) => row.label === label))) * 1e3 + seed;
  return cells.toSorted((a, b) => place(a) - place(b));
}

/** The finding, if there is a cell of every row. */
function hereOf({ rows, finding }: Table, cells: readonly Cell[]): string {
  const missing = rows.filter(({ label }) => cells.every((cell) => cell.label !== label)).length;
  return missing > 0 ? `${missing} of ${rows.length} rows were not run.` : finding!.here(cells);
}

/** The page of a table's cells. */
export function tablePage(table: Table): Page<Cell[]> {
  return definePage(
    table.name,
    v.pipe(v.array(cellSchema), v.minLength(1)),
    (cells) => filesOf(table, cells),
  );
}

/** Writes `<path>.md` and its charts, from the cells alone. */
export async function writeReport(table: Table, cells: readonly Cell[], path: string): Promise<void> {
  const files = await filesOf(table, cells);
  await writeTogether(named(files, path));
  console.log(`\n${files[".md"]}\nWrote ${path}.md, .json and .svg`);
}

async function filesOf(table: Table, cells: readonly Cell[]): Promise<PageFiles> {
  const charts = table.charts(cells);
  const shown = escapedRecord(cells);
  const images = charts.map(({ name, caption }) => `![${caption}](${table.name}${name}.svg)`);
  const sections = [
    ...(table.finding ? [`**The paper:** ${table.finding.paper}\n\n**Here:** ${hereOf(table, shown)}`] : []),
    ...(table.sections?.(shown) ?? []),
    ...images,
  ];
  const markdown = renderMarkdown(table.title, shown, table.reference, sections, table.data?.setting);
  const drawn: Record<string, string> = {};
  for (const { name, svg } of charts) drawn[`${name}.svg`] = await svg();
  return { ...drawn, ".md": markdown };
}
