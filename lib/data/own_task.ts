/** A task of the user's own: labelled texts, or pairs of texts, in tables. */

import { inHashOrder } from "./split.ts";
import { readTable, type TableRow } from "./table_file.ts";
import type { Example, Split, Task } from "./task.ts";

/** Where a task's examples are. */
export interface OwnTaskOptions {
  /** A `.tsv`, `.csv` or `.jsonl` file (see `readTable`). */
  readonly train: string;
  /** Another one; without it a tenth of train is held out. */
  readonly dev?: string;
  /** Column of the text. */
  readonly text: string;
  /** Column of the second text, where examples are pairs. */
  readonly pair?: string;
  /** Column of the class's name or, for regression, of the number. */
  readonly label: string;
  /** Whether labels are numbers to be predicted; false by default. */
  readonly regression?: boolean;
  /** Longest text in tokens; the rest is cut off. */
  readonly maxTokens: number;
}

/** One example before its label is a number. */
interface Labelled {
  readonly where: string;
  readonly texts: readonly string[];
  readonly label: string;
}

/**
 * Reads a task from the user's tables. Classes are the labels of train, in sorted order: by size where all are whole numbers.
 * Without a dev file the last tenth of train in the order of a hash of its texts is dev, so that the split does not hang on
 * the rows' order and equal texts are on one side.
 * @throws Error naming the file, and the line where there is one, for what `readTable` refuses, an empty text or label, a
 * label that is no number or is not among train's, and for train of one label only.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { readOwnTask } from "@bora/webgpu";
 *
 * const folder = await Deno.makeTempDir();
 * await Deno.writeTextFile(`${folder}/train.csv`, 'review,stars\n"Good, really",up\nDull,down\n');
 * const train = `${folder}/train.csv`;
 * const task = await readOwnTask({ train, dev: train, text: "review", label: "stars", maxTokens: 128 });
 * assert.deepEqual(task.labels, ["down", "up"]);
 * assert.deepEqual((await task.load()).train[0].texts, ["Good, really"]);
 * ```
 */
export async function readOwnTask(options: OwnTaskOptions): Promise<Task> {
  const { train: path, dev: devPath, pair, regression = false, maxTokens } = options;
  const train = await readLabelled(path, options);
  const labels = regression ? [] : classesOf(train);
  const toExamples = (rows: readonly Labelled[]) =>
    rows.map((row): Example => ({
      id: row.where,
      texts: row.texts,
      label: regression ? numberOf(row) : classIn(labels, row, path),
    }));
  const split = devPath === undefined
    ? holdOut(toExamples(train), path)
    : { train: toExamples(train), dev: toExamples(await readLabelled(devPath, options)) };
  checkVaried(split.train, path);
  return {
    name: path.split(/[/\\]/).at(-1)!,
    description: `${pair === undefined ? "text" : "pair of texts"} → ${options.label}`,
    source: path,
    shape: pair === undefined ? "single" : "pair",
    objective: regression ? "regression" : "classification",
    labels,
    metrics: regression ? ["pearson", "spearman"] : ["accuracy", "macroF1"],
    maxTokens,
    load: () => Promise.resolve(split),
  };
}

async function readLabelled(path: string, { text, pair, label }: OwnTaskOptions): Promise<Labelled[]> {
  const columns = [text, ...pair === undefined ? [] : [pair], label];
  return (await readTable(path, columns)).map((row) => labelled(row, columns));
}

function labelled({ where, cells }: TableRow, columns: readonly string[]): Labelled {
  const empty = cells.findIndex((cell) => cell.trim() === "");
  if (empty >= 0) throw new Error(`${where}: ${JSON.stringify(columns[empty])} is empty: mend the record`);
  return { where, texts: cells.slice(0, -1), label: cells.at(-1)! };
}

function classesOf(rows: readonly Labelled[]): string[] {
  const names = [...new Set(rows.map(({ label }) => label))];
  const sorted = names.toSorted();
  if (!names.every((name) => /^-?\d+$/.test(name))) return sorted;
  const sizes = new Map(names.map((name) => [name, BigInt(name)]));
  // 1 and 01 are two names of one size.
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

/** Decimal digits with what Python's `float` takes beside them; and float32, in which the loss is computed, must hold the number. */
function numberOf({ where, label }: Labelled): number {
  const isDecimal = /^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*$/i.test(label);
  if (isDecimal && Number.isFinite(Math.fround(Number(label)))) return Number(label);
  throw new Error(
    `${where} has the label ${
      JSON.stringify(label)
    }: regression wants a number, such as -1.5, that float32 can hold`,
  );
}

/** The last tenth as dev; the cut is moved towards the beginning where it would part equal texts. */
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
