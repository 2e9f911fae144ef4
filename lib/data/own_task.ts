/** A task from the user's own tables of labelled texts or pairs of texts. */

import { checkOptionNames } from "../option_names.ts";
import { inHashOrder } from "./split.ts";
import { readTable, type TableRow } from "./table_file.ts";
import type { Example, Split, Task } from "./task.ts";

/** The files and columns of a task, for `loadOwnTask`. */
export interface OwnTaskOptions {
  /**
   * Path of the training examples: a `.tsv` (no quoting), `.csv` or `.jsonl` file. The first two need a
   * header line.
   */
  readonly train: string;
  /** Path of the dev examples; if absent, a tenth of the training examples is held out. */
  readonly dev?: string;
  /** Column of the text. */
  readonly text: string;
  /** Column of the second text, if the examples are pairs. */
  readonly pair?: string;
  /** Column of the class name or, for regression, of the number. */
  readonly label: string;
  /** True when the labels are numbers to predict; default false. */
  readonly regression?: boolean;
  /** Longest text in tokens; longer texts are truncated. */
  readonly maxTokens: number;
}

const optionNames = ["train", "dev", "text", "pair", "label", "regression", "maxTokens"];

/** One example whose label is not yet a number. */
interface Labelled {
  readonly where: string;
  readonly texts: readonly string[];
  readonly label: string;
}

/**
 * Reads a task from your own tables. The classes are the labels that occur in train, in sorted order
 * (numerically if all are integers). Without a dev file, the last tenth of train in hash order becomes dev:
 * the split does not depend on the order of the rows, and equal texts are on the same side.
 * @throws Error that names the file, and the line if there is one, for an unreadable or malformed table, a
 * missing column, an empty text or label, a label that is not a number (regression) or does not occur in
 * train, labels that differ only in the spaces around them or in how Unicode spells a letter, a train file
 * whose labels are all the same, a column that is named twice, and an option that there is not.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { loadOwnTask } from "@bora/webgpu";
 *
 * const folder = await Deno.makeTempDir();
 * await Deno.writeTextFile(`${folder}/train.csv`, 'review,stars\n"Good, really",up\nDull,down\n');
 * const train = `${folder}/train.csv`;
 * const task = await loadOwnTask({ train, dev: train, text: "review", label: "stars", maxTokens: 128 });
 * assert.deepEqual(task.labels, ["down", "up"]);
 * assert.deepEqual((await task.load()).train[0].texts, ["Good, really"]);
 * ```
 */
export async function loadOwnTask(options: OwnTaskOptions): Promise<Task> {
  checkOptionNames("loadOwnTask", options, optionNames);
  const { train: path, dev: devPath, pair, regression = false, maxTokens } = options;
  const train = await readLabelled(path, options);
  const dev = devPath === undefined ? undefined : await readLabelled(devPath, options);
  if (!regression) checkSpelling([...train, ...dev ?? []]);
  const labels = regression ? [] : classesOf(train);
  const toExamples = (rows: readonly Labelled[]) =>
    rows.map((row): Example => ({
      id: row.where,
      texts: row.texts,
      label: regression ? numberOf(row) : classIn(labels, row, path),
    }));
  const split = dev ? { train: toExamples(train), dev: toExamples(dev) } : holdOut(toExamples(train), path);
  checkVaried(split.train, path);
  return {
    name: path.split(/[/\\]/).at(-1)!,
    description: `${pair === undefined ? "text" : "pair of texts"} → ${options.label}`,
    source: path,
    objective: regression ? "regression" : "classification",
    labels,
    metrics: regression ? ["pearson", "spearman"] : ["accuracy", "macroF1"],
    maxTokens,
    load: () => Promise.resolve(split),
  };
}

async function readLabelled(path: string, { text, pair, label }: OwnTaskOptions): Promise<Labelled[]> {
  const columns = [text, ...pair === undefined ? [] : [pair], label];
  const twice = columns.find((name, i) => columns.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new Error(`${path}: ${JSON.stringify(twice)} is to be read twice: name another column for each`);
  }
  return (await readTable(path, columns)).map((row) => labelled(row, columns));
}

function labelled({ where, cells }: TableRow, columns: readonly string[]): Labelled {
  const empty = cells.findIndex((cell) => cell.trim() === "");
  if (empty >= 0) throw new Error(`${where}: ${JSON.stringify(columns[empty])} is empty: mend the record`);
  return { where, texts: cells.slice(0, -1), label: cells.at(-1)! };
}

/** Throws an Error if labels differ only in the spaces around them, or in how Unicode spells a letter: they would be two classes. */
function checkSpelling(rows: readonly Labelled[]): void {
  const byName = new Map<string, Labelled>();
  for (const row of rows) {
    const name = row.label.normalize("NFC").trim();
    const first = byName.get(name) ?? row;
    if (first.label !== row.label) {
      const what = first.label.trim() === row.label.trim()
        ? "spaces make"
        : "accents written in two ways make";
      throw new Error(
        `${row.where} has the label ${JSON.stringify(row.label)}, and ${first.where} ${
          JSON.stringify(first.label)
        }: ${what} them two classes; write them alike`,
      );
    }
    byName.set(name, first);
  }
}

function classesOf(rows: readonly Labelled[]): string[] {
  const names = [...new Set(rows.map(({ label }) => label))];
  const sorted = names.toSorted();
  if (!names.every((name) => /^-?\d+$/.test(name))) return sorted;
  const sizes = new Map(names.map((name) => [name, BigInt(name)]));
  // 1 and 01 are two names of the same number.
  return sorted.toSorted((a, b) =>
    sizes.get(a)! < sizes.get(b)! ? -1 : Number(sizes.get(a)! > sizes.get(b)!)
  );
}

function classIn(labels: readonly string[], { where, label }: Labelled, train: string): number {
  const id = labels.indexOf(label);
  if (id >= 0) return id;
  throw new Error(
    `${where} has the label ${JSON.stringify(label)}, and ${train} has only ${labels.join(", ")}`,
  );
}

/**
 * Accepts what Python's `float` accepts as a decimal number, if it is finite in float32, in which the loss is
 * computed.
 */
function numberOf({ where, label }: Labelled): number {
  const isDecimal = /^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*$/i.test(label);
  if (isDecimal && Number.isFinite(Math.fround(Number(label)))) return Number(label);
  throw new Error(
    `${where} has the label ${
      JSON.stringify(label)
    }: regression wants a number, such as -1.5, that float32 can hold`,
  );
}

/** Holds out the last tenth as dev. The cut moves towards the start if it would separate equal texts. */
function holdOut(examples: readonly Example[], path: string): Split {
  const key = ({ texts }: Example) => JSON.stringify(texts);
  const ordered = inHashOrder(examples, key);
  let cut = ordered.length - Math.ceil(ordered.length / 10);
  while (cut > 0 && key(ordered[cut - 1]) === key(ordered[cut])) cut--;
  if (cut === 0) {
    throw new Error(`${path} has too few different texts to hold a tenth out: add some, or give a dev file`);
  }
  return { train: ordered.slice(0, cut), dev: ordered.slice(cut) };
}

function checkVaried(train: readonly Example[], path: string): void {
  if (train.some(({ label }) => label !== train[0].label)) return;
  throw new Error(`${path}: all examples to train on have one label: there is nothing to learn`);
}
