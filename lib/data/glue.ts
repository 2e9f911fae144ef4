/** GLUE's tasks, read from the user's folder in the original TSV layout or in the hub's parquet layout. */

import { readGlueParquet } from "./glue_parquet.ts";
import { glueEntries, type GlueEntry, glueEntry } from "./glue_tasks.ts";
import { type GlueRow, parseGlueTsv } from "./glue_tsv.ts";
import { inHashOrder } from "./split.ts";
import type { Example, Split, Task, TaskFamily } from "./task.ts";

/** The test examples for one file of a GLUE submission. */
export interface GlueTestSet {
  /** Name of the task, such as "MNLI". */
  readonly task: string;
  /** GLUE's name of the submission file without `.tsv`: "RTE", "MNLI-m", "MNLI-mm". */
  readonly file: string;
  /** The examples in the order of the file, which the submission must have. Their labels are −1. */
  readonly examples: readonly Example[];
}

/** A GLUE task: a `Task` with test sets, whose labels are not public. */
export interface GlueTask extends Task {
  /** Reads the test files: two for MNLI, one for every other task. Throws as `load` does. */
  loadTest(): Promise<GlueTestSet[]>;
}

/**
 * The GLUE task `name` ("CoLA", "SST-2", "MRPC", "QQP", "STS-B", "MNLI", "QNLI", "RTE" or "WNLI"), read from
 * `folder`. The folder must contain `<name>/train.tsv`, `dev.tsv` and so on, or else the files of the hub's
 * `nyu-mll/glue`, such as `sst2/train-00000-of-00001.parquet`. Both layouts give the same examples in the
 * same order: that of a hash of split and row number, so a prefix is a random sample.
 *
 * @throws Error when there is no task `name`. `load` throws an Error that names the file and the line or row
 * of malformed data.
 */
export function glueTask(name: string, folder: string): GlueTask {
  const entry = glueEntry(name);
  return {
    name,
    description: entry.description,
    source: `GLUE (Wang et al. 2019), ${name}`,
    objective: entry.objective,
    labels: entry.labels,
    metrics: entry.metrics,
    maxTokens: entry.maxTokens,
    load: () => loadSplit(entry, folder),
    loadTest: () => loadTest(entry, folder),
  };
}

/** The task family for `registry.ts`. */
export const glue: TaskFamily = {
  name: "glue",
  description: "GLUE's nine tasks, from their TSV folders or the hub's parquet folders",
  tasks: glueEntries.map(({ name }) => name),
  task: glueTask,
};

async function loadSplit(entry: GlueEntry, folder: string): Promise<Split> {
  const read = await readerOf(entry, folder);
  const side = async (split: GlueSplit, part?: string) => {
    const examples = examplesOf(await read(split, part), part === undefined ? split : `${split} ${part}`);
    return inHashOrder(examples, ({ id }) => id);
  };
  const train = await side("train");
  const [first, ...others] = entry.parts ?? [];
  const dev = await side("dev", first);
  if (others.length === 0) return { train, dev };
  const further: Record<string, readonly Example[]> = {};
  for (const part of others) further[part] = await side("dev", part);
  return { train, dev, furtherDev: further };
}

async function loadTest(entry: GlueEntry, folder: string): Promise<GlueTestSet[]> {
  const read = await readerOf(entry, folder);
  const sets: GlueTestSet[] = [];
  for (const part of entry.parts ?? [undefined]) {
    const rows = await read("test", part);
    const suffix = { matched: "-m", mismatched: "-mm" }[part ?? ""] ?? "";
    sets.push({
      task: entry.name,
      file: `${entry.name}${suffix}`,
      examples: examplesOf(rows, `test${suffix}`),
    });
  }
  return sets;
}

function examplesOf(rows: readonly GlueRow[], split: string): Example[] {
  return rows.map(({ idx, texts, label }) => ({ id: `${split} ${idx}`, texts, label }));
}

type GlueSplit = "train" | "dev" | "test";
type ReadRows = (split: GlueSplit, part: string | undefined) => Promise<GlueRow[]>;

/** A reader for the layout of `folder`. */
async function readerOf(entry: GlueEntry, folder: string): Promise<ReadRows> {
  const suffix = (part: string | undefined) => part === undefined ? "" : `_${part}`;
  const [tsv, hub] = [`${folder}/${entry.name}`, `${folder}/${entry.hub}`];
  if (await hasFile(tsv, (name) => name === "train.tsv")) {
    return async (split, part) => {
      const path = `${tsv}/${split}${suffix(part)}.tsv`;
      return parseGlueTsv(entry, await Deno.readFile(path), path, split !== "test");
    };
  }
  if (await hasFile(hub, (name) => name.startsWith("train-") && name.endsWith(".parquet"))) {
    const names = { train: "train", dev: "validation", test: "test" };
    return (split, part) => readGlueParquet(entry, hub, names[split] + suffix(part), split !== "test");
  }
  throw new Error(
    `${folder} has no ${entry.name}: neither ${entry.name}/train.tsv nor ${entry.hub}/train-00000-of-00001.parquet; ` +
      `give the folder that holds GLUE's folders`,
  );
}

async function hasFile(folder: string, fits: (name: string) => boolean): Promise<boolean> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder))).some(({ name }) => fits(name));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
