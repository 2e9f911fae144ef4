/** Reads result files of any kind, single ones or folders of them. */

import { fitting, isFolder, jsonFiles, readAnyJson } from "../files.ts";
import { type BenchRecord, benchSchema } from "./bench_schema.ts";
import { cellsIn, cellTableSchema, folderOf } from "./cell_table.ts";
import { CellStore } from "./cell_store.ts";
import { type KernelsRecord, kernelsSchema } from "./kernels_schema.ts";
import type { Cell } from "./schema.ts";

/** Everything that was found. */
export interface Results {
  readonly cells: readonly Cell[];
  /** Sorted by path. */
  readonly benches: readonly BenchRecord[];
  readonly kernels: readonly KernelsRecord[];
  /** Files of other kinds, which are allowed in a folder. */
  readonly leftOut: readonly string[];
}

/**
 * Reads a result file, or every `.json` file in a folder and its subfolders.
 * @throws Error that names the file when it is damaged, or when a single file is of another kind.
 */
export async function readResults(path: string): Promise<Results> {
  const paths = await isFolder(path) ? await jsonFiles(path) : [path];
  const cells: Cell[] = [];
  const benches: BenchRecord[] = [];
  const kernels: KernelsRecord[] = [];
  const leftOut: string[] = [];
  for (const file of paths) {
    const json = await readAnyJson(file, "make it again, or take it out of the folder");
    if (isTable(json)) {
      const table = fitting(file, cellTableSchema, json);
      cells.push(...await cellsIn(file, table, await CellStore.open(folderOf(file))));
    } else if (isBench(json)) benches.push(fitting(file, benchSchema, json));
    else if (isKernels(json)) kernels.push(fitting(file, kernelsSchema, json));
    else if (!isOfStore(file)) leftOut.push(file);
  }
  if (cells.length + benches.length + kernels.length > 0) return { cells, benches, kernels, leftOut };
  throw new Error(
    `${path}: neither cells of deno task reproduce nor a bench.json of deno task bench nor a kernels.json of deno task kernels`,
  );
}

function isTable(json: unknown): boolean {
  return typeof json === "object" && json !== null && "table" in json && "rows" in json;
}

/** True for a cell or labels in a store: its table's record names them. */
function isOfStore(path: string): boolean {
  return /(^|[/\\])cells[/\\].*-[0-9a-f]{12}(-s\d+)?\.json$/.test(path);
}

function isBench(json: unknown): boolean {
  return typeof json === "object" && json !== null && "rows" in json && "environment" in json;
}

function isKernels(json: unknown): boolean {
  return typeof json === "object" && json !== null && "kernels" in json && "targets" in json;
}
