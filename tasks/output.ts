/** Prepares the output path of --out before anything is computed. */

import { basename, dirname, join, resolve } from "node:path";
import { isFolder, makeFolder, makeParents, refuseExisting } from "../lib/files.ts";
import { asUsageAsync, UsageError } from "./usage.ts";

/** Creates the output folder and its parents if they do not exist. Returns its path. */
export async function outputFolder(out: string): Promise<string> {
  const path = await plainPath(out);
  await makeFolder(path);
  return path;
}

/** Prepares the path of a folder that the command will create in one go. Throws a UsageError if it exists. */
export async function newFolder(out: string): Promise<string> {
  const path = await plainPath(out);
  await asUsageAsync(() => refuseExisting(path));
  await makeParents(path);
  return path;
}

/** Prepares the path of an output file. Throws a UsageError if it is a folder's path. */
export async function outputFile(out: string): Promise<string> {
  const path = await plainPath(out);
  if (/[/\\]$/.test(out) || await isFolder(path)) {
    throw new UsageError(`--out ${out} is a folder's path: name a file in it`);
  }
  await makeParents(path);
  return path;
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
