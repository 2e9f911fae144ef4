/** Where a command writes: what --out says, made ready before anything is computed. */

import { basename, dirname, join, resolve } from "node:path";
import { isFolder, makeFolder, makeParents, refuseExisting } from "../lib/files.ts";
import { asUsageAsync, UsageError } from "./usage.ts";

/** A folder for a command's files: made, with those that it lies in, where it is not there. Returns its path. */
export async function outputFolder(out: string): Promise<string> {
  const path = await plainPath(out);
  await makeFolder(path);
  return path;
}

/** The same for a folder that the command makes in one go. Throws a UsageError when something is there. */
export async function newFolder(out: string): Promise<string> {
  const path = await plainPath(out);
  await asUsageAsync(() => refuseExisting(path));
  await makeParents(path);
  return path;
}

/** The same for a file. Throws a UsageError for a folder's path. */
export async function outputFile(out: string): Promise<string> {
  const path = await plainPath(out);
  if (/[/\\]$/.test(out) || await isFolder(path)) {
    throw new UsageError(`--out ${out} is a folder's path: name a file in it`);
  }
  await makeParents(path);
  return path;
}

/** `out` without a slash at its end, and without the `.` and `..` that would lead through folders which are not there. */
export async function plainPath(out: string): Promise<string> {
  if (out === "") throw new UsageError("--out is empty: name where to write");
  const parts = out.split(/[/\\]/);
  if (!parts.includes("..")) return join(dirname(out), basename(out));
  // A folder that is there may be a link, whose .. is another's.
  for (let known = parts.length; known > 0; known--) {
    const begin = parts.slice(0, known).join("/") || "/";
    if (await isFolder(begin)) return resolve(await Deno.realPath(begin), ...parts.slice(known));
  }
  return resolve(out);
}
