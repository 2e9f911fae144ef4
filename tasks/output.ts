/**
 * Prepares the output path of --out before anything is computed: what cannot be written is refused at once.
 * Folders made for it that are still empty when the command ends, because it failed, are removed.
 */

import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { isFolder, makeFolder, refuseExisting } from "../lib/files.ts";
import { asUsageAsync, UsageError } from "./usage.ts";

/** Creates the output folder and its parents if they do not exist. Returns its path. */
export async function outputFolder(out: string): Promise<string> {
  const path = await plainPath(out);
  await makeForTheCommand(path);
  return path;
}

/** Prepares the path of a folder that the command will create in one go. Throws a UsageError if it exists. */
export async function newFolder(out: string): Promise<string> {
  const path = await plainPath(out);
  await asUsageAsync(() => refuseExisting(path));
  await makeForTheCommand(dirname(path));
  return path;
}

/** Prepares the path of an output file. Throws a UsageError if it is a folder's path. */
export async function outputFile(out: string): Promise<string> {
  const path = await plainPath(out);
  if (/[/\\]$/.test(out) || await isFolder(path)) {
    throw new UsageError(`--out ${out} is a folder's path: name a file in it`);
  }
  await makeForTheCommand(dirname(path));
  return path;
}

/** Creates a folder and its parents. Those that are empty when the process ends are removed again. */
async function makeForTheCommand(folder: string): Promise<void> {
  const missing: string[] = [];
  for (let path = folder; !existsSync(path); path = dirname(path)) missing.push(path);
  await makeFolder(folder);
  globalThis.addEventListener("unload", () => {
    for (const path of missing) {
      if (!existsSync(path)) continue;
      if ([...Deno.readDirSync(path)].length > 0) return;
      Deno.removeSync(path);
    }
  });
}

/**
 * `out` without a slash at its end, and without `.` and `..` that would lead through folders that do not
 * exist.
 */
export async function plainPath(out: string): Promise<string> {
  if (out === "") throw new UsageError("--out is empty: name where to write");
  const parts = out.split(/[/\\]/);
  if (!parts.includes("..")) return join(dirname(out), basename(out));
  // An existing folder may be a link, whose `..` is another folder.
  for (let known = parts.length; known > 0; known--) {
    const begin = parts.slice(0, known).join("/") || "/";
    if (await isFolder(begin)) return resolve(await Deno.realPath(begin), ...parts.slice(known));
  }
  return resolve(out);
}
