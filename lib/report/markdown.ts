/** Renders results as markdown, from the records alone. */

import { markdownTable } from "npm:markdown-table@3.0.4";
import { escapeMarkdown } from "../escape_markdown.ts";
import { fixed } from "../show.ts";
import { cellsBySet } from "./cells_by_set.ts";
import { meanScore } from "./scores.ts";
import { intervalOf, scoreText } from "./statistics.ts";
import type { Cell, Environment } from "./schema.ts";

const percent = (value: number) => fixed(100 * value, 1);
const thousands = (value: number) => value.toLocaleString("en-US");

/** A markdown table. The first column is left-aligned, the others right-aligned. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  return markdownTable([header, ...rows], { align: header.map((_, i) => i === 0 ? "l" : "r") });
}

/** The machine in one line, such as `llvmpipe (…), Mesa 22.3.6, 2 CPUs, linux x86_64, Deno 2.9.6`. */
export function machineText({ adapter, driver, cpus, system, runtime }: Environment): string {
  return [adapter, ...driver === undefined ? [] : [driver], `${cpus} CPUs`, system, runtime].join(", ");
}

/** The short commit, such as `0123456789 with uncommitted changes`, or why it is unknown. */
export function commitText({ commit, dirty }: Pick<Environment, "commit" | "dirty">): string {
  return commit.replace(/^([0-9a-f]{10})[0-9a-f]+$/, "$1") + (dirty ? " with uncommitted changes" : "");
}

/** The origin of a page's figures, as sentences: `Machine: …. Commit 0123456789.` */
export function originText(environment: Environment): string {
  return `Machine: ${machineText(environment)}. Commit ${commitText(environment)}.`;
}

/** Escapes all strings of a record, keys included, because the file may come from a stranger. */
export function escapedRecord<T>(record: T): T {
  if (typeof record === "string") return escapeMarkdown(record) as T;
  if (Array.isArray(record)) return record.map(escapedRecord) as T;
  if (record === null || typeof record !== "object") return record;
  return Object.fromEntries(
    Object.entries(record).map(([key, value]) => [escapeMarkdown(key), escapedRecord(value)]),
  ) as T;
}

/** Groups items by key, in order of first appearance. */
function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(key(item), [...groups.get(key(item)) ?? [], item]);
  return groups;
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** What the embedded suite's scores mean, and what they do not. */
const embeddedSuite = "the embedded suite: labels made by people, but not the paper's data or models";

/**
 * The page of one table. `rates` says where learning rates are from, `setting` describes the data, and `sections`
 * come after the scores.
 */
export function renderMarkdown(
  title: string,
  cells: readonly Cell[],
  rates: string,
  sections: readonly string[],
  setting = embeddedSuite,
): string {
  const [first] = cells;
  const bySet = cellsBySet(cells);
  const tasks = [...groupBy(bySet, (cell) => cell.task).keys()];
  return `# ${title}

Profile \`${first.profile}\`, model ${first.model}, ${seedsText(cells)}, ${tasks.join(", ")} of ${setting}.
${targets(cells)} Headline metric on dev at the last epoch, with the best epoch's in
brackets, in percent; ± is a 95 % interval over seeds alone (Student's t), from three seeds on.

Machine: ${machines(cells)}. ${commits(cells)} ${wholeTime(cells)}

${scores(bySet, tasks)}

${sections.map((section) => `${section}\n\n`).join("")}## Cost

${costs(cells)}

Multiply-adds are per token and forward pass; a profiler's FLOPs are twice that. Time is that of training alone with the seed that
took the least, on machines that did other things too: it does not compare methods (deno task costs does). ${rates}

## Tasks

${taskTable(bySet)}

## Every metric

${everyMetric(cells)}
`;
}

/** How many seeds the rows have. */
function seedsText(cells: readonly Cell[]): string {
  const counts = [...groupBy(cells, (cell) => cell.label).values()].map((own) =>
    new Set(own.map(({ seed }) => seed)).size
  );
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  return `${least < most ? `${least} to ${most}` : most} seed${most > 1 ? "s" : ""}`;
}

/** The machines that the cells were run on. */
function machines(cells: readonly Cell[]): string {
  return [...new Set(cells.map(({ environment }) => machineText(environment)))].join("; ");
}

/** The commits that the cells were run at. */
function commits(cells: readonly Cell[]): string {
  const names = new Set(cells.map(({ environment }) => commitText(environment)));
  return `Commit ${[...names].join(", ")}.`;
}

function wholeTime(cells: readonly Cell[]): string {
  const seconds = cells.reduce((sum, { times }) => sum + times.wallSeconds, 0);
  const time = seconds < 120 ? `${seconds.toFixed(0)} seconds` : `${(seconds / 60).toFixed(0)} minutes`;
  return cells.length === 1 ? `The cell took ${time}.` : `The ${cells.length} cells took ${time}.`;
}

/** The target modules, if all rows have the same. */
function targets(cells: readonly Cell[]): string {
  const all = new Set(cells.map(({ target }) => target.join(", ")));
  return all.size === 1 ? `Adapters on ${[...all][0]}.` : "Adapters where the row says.";
}

function scores(cells: readonly Cell[], tasks: readonly string[]): string {
  const byMethod = groupBy(cells, (cell) => cell.label);
  const lasts = (own: readonly Cell[], task: string) =>
    own.filter((cell) => cell.task === task).map((cell) => 100 * cell.last[cell.headline]);
  const bests = (own: readonly Cell[], task: string) =>
    own.filter((cell) => cell.task === task).map((cell) => 100 * cell.best[cell.headline]);
  const seeds = (own: readonly Cell[], task: string) =>
    own.filter((cell) => cell.task === task).map(({ seed }) => seed).toSorted((a, b) => a - b).join(" ");
  // The means of rows with other seeds do not say which is best: their differences do, which pair seeds.
  const top = new Map(tasks.map((task) => {
    const of = [...byMethod.values()].filter((own) => lasts(own, task).length > 0);
    const isFair = new Set(of.map((own) => seeds(own, task))).size === 1;
    return [task, isFair ? Math.max(...of.map((own) => mean(lasts(own, task)))) : undefined];
  }));
  const rows = [...byMethod].map(([label, own]) => {
    const columns = tasks.map((task) => {
      const values = lasts(own, task);
      if (values.length === 0) return "–";
      const text = scoreText(intervalOf(values));
      return `${mean(values) === top.get(task) ? `**${text}**` : text} (${fixed(mean(bests(own, task)), 1)})`;
    });
    const average = meanScore(cells, label);
    const averageText = average === undefined ? "–" : fixed(average, 1);
    return [label, thousands(own[0].adapterParameters), ...columns, averageText];
  });
  return table(["method", "trainable, head not counted", ...tasks, "average"], rows);
}

function costs(cells: readonly Cell[]): string {
  const byMethod = groupBy(cells, (cell) => cell.label);
  const rows = [...byMethod].map(([label, own]) => {
    const [cell] = own;
    return [
      label,
      thousands(cell.adapterMultiplyAddsPerToken),
      `${(100 * cell.adapterMultiplyAddsPerToken / cell.baseMultiplyAddsPerToken).toFixed(2)} %`,
      Math.min(...own.map(({ times }) => times.trainSeconds)).toFixed(1),
      (Math.max(...own.map((c) => c.peakBufferBytes)) / 2 ** 20).toFixed(0),
      cell.steps === 0 ? "–" : String(cell.training.learningRate),
    ];
  });
  return table([
    "method",
    "adapter multiply-adds",
    "of the base's",
    "train s a cell",
    "peak MiB",
    "learning rate",
  ], rows);
}

/** Metrics on which a constant prediction scores 0. */
const correlations = new Set(["matthews", "pearson", "spearman"]);

function taskTable(cells: readonly Cell[]): string {
  const longest = (own: readonly Cell[]) => own.reduce((a, b) => b.epochs.length > a.epochs.length ? b : a);
  const rows = [...groupBy(cells, (cell) => cell.task)].map(([task, own]) => [task, longest(own)] as const)
    .map(([
      task,
      cell,
    ]) => [
      task,
      thousands(cell.trainExamples),
      thousands(cell.devExamples),
      String(cell.epochs.length),
      String(cell.training.batchSize),
      cell.headline,
      // A constant prediction has no correlation, whatever the majority label's share.
      percent(correlations.has(cell.headline) ? 0 : cell.majorityBaseline),
    ]);
  return table(["task", "train", "dev", "epochs", "batch", "headline metric", "majority baseline"], rows);
}

function everyMetric(cells: readonly Cell[]): string {
  const rows = cells.map((cell) => [
    cell.label,
    cell.task,
    String(cell.seed),
    Object.entries(cell.last).map(([name, value]) => `${name} ${percent(value)}`).join(", "),
    Object.entries(cell.best).map(([name, value]) => `${name} ${percent(value)}`).join(", "),
    cell.epochs.at(-1)?.trainLoss.toFixed(3) ?? "–",
  ]);
  return table(["method", "task", "seed", "last epoch", "best epoch", "train loss"], rows);
}
