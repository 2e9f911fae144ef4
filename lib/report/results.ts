/** Reads result files of any kind, single ones or folders of them. */

import * as v from "npm:valibot@1.5.0";
import { fitting, isFolder, readAnyJson } from "../files.ts";
import { type BenchRecord, benchSchema } from "./bench_schema.ts";
import { type Cell, cellSchema } from "./schema.ts";

/** Everything that was found. */
export interface Results {
  readonly cells: readonly Cell[];
  /** Sorted by path. */
  readonly benches: readonly BenchRecord[];
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
  const leftOut: string[] = [];
  for (const file of paths) {
    const json = await readAnyJson(file, "make it again, or take it out of the folder");
    if (Array.isArray(json)) cells.push(...fitting(file, v.array(cellSchema), json));
    else if (isBench(json)) benches.push(fitting(file, benchSchema, json));
    else leftOut.push(file);
  }
  if (cells.length + benches.length > 0) return { cells, benches, leftOut };
  throw new Error(
    `${path}: neither cells of deno task reproduce nor a bench.json of deno task bench`,
  );
}

function isBench(json: unknown): boolean {
  return typeof json === "object" && json !== null && "rows" in json && "environment" in json;
}

/** Every `.json` file in a folder and its subfolders, sorted. */
export async function jsonFiles(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const { name, isDirectory, isFile } of await Array.fromAsync(Deno.readDir(folder))) {
    if (isDirectory) found.push(...await jsonFiles(`${folder}/${name}`));
    if (isFile && name.endsWith(".json")) found.push(`${folder}/${name}`);
  }
  return found.toSorted();
}
