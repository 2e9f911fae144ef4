/** Made-up cells, and the tables and stores that hold them. */

import { createHash } from "node:crypto";
import { jsonFiles } from "../../lib/files.ts";
import { CellStore } from "../../lib/report/cell_store.ts";
import { type CellTable, folderOf, writeCellTable } from "../../lib/report/cell_table.ts";
import { packNumbers } from "../../lib/report/packed_numbers.ts";
import { type Cell, settingsDigest, settingsOf, type StoredCell } from "../../lib/report/schema.ts";
import { normals } from "./noise.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** A cell of LoRA on eight dev examples, with these changes. Other labels, tasks and models are other experiments. */
export function madeUpCell(changes: Partial<Cell> = {}): Cell {
  const { task = "supersense", model = "tiny", label = "LoRA r 8", devExamples = 8 } = changes;
  return {
    schemaVersion: 2,
    table: "first-table",
    profile: "made up for this test",
    label,
    task,
    model,
    modelDigest: sha256(`weights of ${model}`),
    dataDigest: sha256(`${devExamples} examples of ${task}`),
    method: "LoRA",
    options: { r: 8, alpha: 16 },
    target: ["query"],
    training: { epochs: 1, batchSize: 32, maxTokens: 64, learningRate: 0.003, warmupRatio: 0.1 },
    trainExamples: 1000,
    devExamples,
    golden: sha256(`bits of ${label}`),
    seed: 0,
    epochs: [{ epoch: 0, trainLoss: 1.5, metrics: { accuracy: 0.5 } }],
    best: { accuracy: 0.625 },
    last: { accuracy: 0.5 },
    headline: "accuracy",
    adapterParameters: 24576,
    headParameters: 100,
    baseMultiplyAddsPerToken: 1000,
    adapterMultiplyAddsPerToken: 20,
    majorityBaseline: 0.25,
    steps: 10,
    predictions: { dev: packNumbers(labelsOf(devExamples)) },
    labels: { dev: labelsOf(devExamples) },
    times: { compileSeconds: 1, trainSeconds: 10, wallSeconds: 12 },
    peakBufferBytes: 2 ** 21,
    environment: {
      adapter: "a",
      software: true,
      runtime: "Deno r",
      system: "s",
      cpus: 2,
      commit: "0123456789ab",
      dirty: false,
    },
    ...changes,
  };
}

/** The labels of so many made-up dev examples. */
export function labelsOf(devExamples: number): number[] {
  return Array.from({ length: devExamples }, (_, i) => i % 4);
}

/** What `madeUpCells` makes. */
interface CellsWanted {
  readonly table: string;
  readonly labels: readonly string[];
  readonly tasks: readonly string[];
  readonly seeds: number;
  readonly devExamples: number;
}

/** A cell of every label, task and seed, whose scores scatter as those of trained ones do; the same in every call. */
export function madeUpCells({ table, labels, tasks, seeds, devExamples }: CellsWanted): Cell[] {
  const noise = normals(0);
  return tasks.flatMap((task) => labels.map((label) => ({ task, label, mean: 0.6 + 0.05 * noise() })))
    .flatMap(
      ({ task, label, mean }) =>
        Array.from({ length: seeds }, (_, seed) => {
          const right = Math.round((mean + 0.02 * noise()) * devExamples);
          const accuracy = right / devExamples;
          return madeUpCell({
            ...{ table, task, label, seed, devExamples },
            last: { accuracy },
            best: { accuracy },
            epochs: [{ epoch: 0, trainLoss: 1.5, metrics: { accuracy } }],
            predictions: {
              dev: packNumbers(labelsOf(devExamples).map((own, i) => i < right ? own : own + 1)),
            },
          });
        }),
    );
}

/** The files of the cells of a method in the store beside the tables in `folder`, by their paths. */
export async function cellFiles(folder: string, method: string): Promise<string[]> {
  const start = `/${method.toLowerCase()}-`;
  return (await jsonFiles(`${folder}/cells`)).filter((path) =>
    /-s\d+\.json$/.test(path) && path.includes(start)
  );
}

/** A cell as the store keeps it: without what belongs to the table. */
export function storedCell({ table: _, profile: __, label: ___, labels: ____, ...stored }: Cell): StoredCell {
  return stored;
}

/** Writes the record of the cells' table at `path`, and the cells and their labels into the store beside it. */
export async function writeCellsTable(path: string, cells: readonly Cell[]): Promise<void> {
  const store = await CellStore.open(folderOf(path));
  const rows: CellTable["rows"] = [];
  for (const cell of cells) {
    const { label, task, seed, devExamples } = cell;
    await store.write(storedCell(cell), { dev: labelsOf(devExamples) });
    const settings = await settingsDigest(settingsOf(cell));
    const row = rows.find((row) => row.label === label && row.task === task && row.settings === settings);
    if (row) row.seeds.push(seed);
    else rows.push({ label, task, settings, seeds: [seed] });
  }
  const [{ table, profile }] = cells;
  await writeCellTable(path, { schemaVersion: 2, table, profile, rows });
}
