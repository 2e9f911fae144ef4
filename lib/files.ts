/**
 * Reading files strictly, with errors that name the file, and writing them so that an interrupted run or a
 * power loss never leaves a partial file.
 */

import * as v from "npm:valibot@1.5.0";
import { bytesInMemory, isFolderInMemory, isInMemory, namesInMemory } from "./files_in_memory.ts";

/**
 * Writes `content` to a temporary file beside `path`, then renames it: a crash or a full disk leaves the old
 * file intact.
 */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  await writeTogether({ [path]: content });
}

/**
 * Like `writeWhole`, for files that belong together: all are written and flushed to disk before the first is
 * renamed. Just before that the `outdated` files beside them are removed, where they exist.
 * @throws Error that names the file that cannot be written. The temporary files are removed.
 */
export async function writeTogether(
  files: Readonly<Record<string, string | Uint8Array>>,
  outdated: readonly string[] = [],
): Promise<void> {
  const written: string[] = [];
  try {
    for (const [path, content] of Object.entries(files)) {
      await naming(path, async () => {
        written.push(path);
        await writeSynced(`${path}.part`, content);
      });
    }
    for (const path of outdated) await removeFile(path);
    for (const path of Object.keys(files)) {
      await naming(path, () => Deno.rename(`${path}.part`, path));
      written.shift();
    }
  } finally {
    for (const path of written) await removeFile(`${path}.part`);
  }
  for (const folder of new Set(Object.keys(files).map(folderOf))) await syncFolder(folder);
}

/** Like `writeWhole`, for a file that other processes may write at the same moment: none is in another's way, and the last one wins. */
export async function writeShared(path: string, content: string | Uint8Array): Promise<void> {
  const part = `${path}.${crypto.randomUUID()}.part`;
  try {
    await naming(path, async () => {
      await writeSynced(part, content);
      await Deno.rename(part, path);
    });
  } finally {
    await removeFile(part);
  }
  await syncFolder(folderOf(path));
}

/**
 * Creates the folder `out` with the files that `fill` writes into the temporary folder it is given. `out`
 * then exists completely or not at all.
 * @throws Error, leaving no folder, when `out` exists or cannot be written, and whatever `fill` throws.
 */
export async function writeFolder(out: string, fill: (folder: string) => Promise<void>): Promise<void> {
  await refuseExisting(out);
  const part = partOf(out);
  await makeParents(part);
  await naming(out, () => makePart(part));
  try {
    await naming(out, () => fill(part));
    await syncFolder(part);
    await naming(out, () => Deno.rename(part, out));
  } catch (error) {
    await Deno.remove(part, { recursive: true });
    throw error;
  }
  await syncFolder(folderOf(out));
}

/** Creates a temporary folder. Of two that do so at once, the second gets the Error for one that exists. */
async function makePart(part: string): Promise<void> {
  try {
    await Deno.mkdir(part);
  } catch (error) {
    throw error instanceof Deno.errors.AlreadyExists ? partExists(part) : error;
  }
}

/** Creates the parent folders of `path`. Throws as `makeFolder` does. */
export async function makeParents(path: string): Promise<void> {
  await makeFolder(folderOf(path));
}

/**
 * Creates a folder and its parents if missing. Throws an Error that names the folder when it cannot be
 * created.
 */
export async function makeFolder(path: string): Promise<void> {
  await naming(path, () => Deno.mkdir(path, { recursive: true }));
}

/**
 * Throws an Error that says what to do when anything exists at `out`, a device or a dangling link included, or
 * at the temporary folder that `writeFolder` uses for it.
 */
export async function refuseExisting(out: string): Promise<void> {
  if (await exists(out)) throw new Error(`${out} exists: move it away, or name another folder`);
  const part = partOf(out);
  if (await exists(part)) throw partExists(part);
}

function partExists(part: string): Error {
  return new Error(
    `${part} exists, perhaps since a run that was killed, or another run is writing it: ` +
      "look what it holds and move it away, or name another folder",
  );
}

/**
 * Removes what a stopped `writeFolder` left of `out`: only for one who knows that no other writes it, as by a lock. It does not
 * wait, so that a process which is about to end can call it while it writes.
 */
export function removeLeftover(out: string): void {
  try {
    Deno.removeSync(partOf(out), { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Where `writeFolder` gathers the files of `out`. */
function partOf(out: string): string {
  return `${out.replace(/[/\\]+$/, "")}.part`;
}

async function exists(path: string): Promise<boolean> {
  try {
    // Not what a link leads to: a link to nothing is in the way as well.
    await Deno.lstat(path.replace(/(?<=[^/\\:])[/\\]+$/, ""));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}

/**
 * Returns the result of `body`. Errors of the operating system get the path and advice added to their
 * message.
 */
export async function naming<T>(path: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    const { message, code } = error as Error & { readonly code?: string };
    // Only errors of the operating system have a code.
    if (code === undefined) throw error;
    const what = "nothing was changed there; make room on the disk, or write to another folder";
    throw new Error(`${path} cannot be written (${message}): ${what}`, { cause: error });
  }
}

/**
 * Writes a file and waits until it is flushed to disk. Otherwise a rename followed by a power loss could
 * leave an empty file.
 */
async function writeSynced(path: string, content: string | Uint8Array): Promise<void> {
  using file = await Deno.create(path);
  await writeAll(file, typeof content === "string" ? new TextEncoder().encode(content) : content);
  await file.syncData();
}

/** Flushes a file that another program wrote to disk. */
export async function syncFile(path: string): Promise<void> {
  using file = await Deno.open(path, { read: true, write: true });
  await file.syncData();
}

/** Writes all bytes at the file's current position. */
export async function writeAll(
  file: { write(bytes: Uint8Array): Promise<number> },
  bytes: Uint8Array,
): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}

/** Flushes a folder's entries to disk, where the system can open folders and reading it is permitted. */
async function syncFolder(folder: string): Promise<void> {
  const { state } = await Deno.permissions.query({ name: "read", path: folder });
  if (Deno.build.os === "windows" || state !== "granted") return;
  using opened = await Deno.open(folder);
  await opened.sync();
}

/** The parent folder of a path. */
function folderOf(path: string): string {
  return path.replace(/[^/\\]+[/\\]*$/, "") || ".";
}

/** Removes a file if it exists. */
export async function removeFile(path: string): Promise<void> {
  if (await isFile(path)) await Deno.remove(path);
}

/** True when `path` is a file, or a link to one. */
export async function isFile(path: string): Promise<boolean> {
  return (await statOf(path))?.isFile ?? false;
}

/** True when `path` is a folder, or a link to one. */
export async function isFolder(path: string): Promise<boolean> {
  return (await statOf(path))?.isDirectory ?? false;
}

/**
 * Every `.json` file in a folder and its subfolders, sorted. Links are followed, but not into a folder that they are `within`; one that
 * leads nowhere is told when it is read.
 */
export async function jsonFiles(folder: string, within: readonly string[] = []): Promise<string[]> {
  const own = await Deno.realPath(folder);
  if (within.includes(own)) return [];
  const found: string[] = [];
  for (const { name, isDirectory, isSymlink } of await Array.fromAsync(Deno.readDir(folder))) {
    const path = `${folder}/${name}`;
    if (isDirectory || isSymlink && await isFolder(path)) {
      found.push(...await jsonFiles(path, [...within, own]));
    } else if (name.endsWith(".json")) found.push(path);
  }
  return found.toSorted();
}

/** Names of what is in a folder. Throws what reading it throws. */
export async function namesIn(folder: string): Promise<string[]> {
  if (isInMemory(folder)) return namesInMemory(folder);
  return await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
}

/** What is at a path. */
type Found = Pick<Deno.FileInfo, "isFile" | "isDirectory" | "size">;

async function statOf(path: string): Promise<Found | undefined> {
  if (isInMemory(path)) return foundInMemory(path);
  refuseInBrowser(path);
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
    throw error;
  }
}

function foundInMemory(path: string): Found | undefined {
  const bytes = bytesInMemory(path);
  if (bytes) return { isFile: true, isDirectory: false, size: bytes.length };
  return isFolderInMemory(path) ? { isFile: false, isDirectory: true, size: 0 } : undefined;
}

/** Throws an Error that names the path where there are no files but those in memory. */
function refuseInBrowser(path: string): void {
  if (typeof Deno !== "undefined") return;
  throw new Error(
    `${path} cannot be read: a browser has no folders; fetch the files, and hold them in FilesInMemory`,
  );
}

/** A file that is read at any of its places. */
export interface OpenFile extends Disposable {
  /** Its bytes when it was opened. */
  readonly size: number;
  /** Fills `into` with the bytes from `at` on. Returns false where the file ends before. */
  readAt(into: Uint8Array, at: number): boolean;
}

/** Opens a file to read it. Throws what opening it throws. */
export function openFile(path: string): OpenFile {
  if (isInMemory(path)) return openInMemory(path);
  refuseInBrowser(path);
  const file = Deno.openSync(path);
  return {
    size: file.statSync().size,
    readAt(into, at) {
      file.seekSync(at, Deno.SeekMode.Start);
      for (let filled = 0; filled < into.length;) {
        const read = file.readSync(into.subarray(filled));
        if (read === null) return false;
        filled += read;
      }
      return true;
    },
    [Symbol.dispose]: () => file.close(),
  };
}

function openInMemory(path: string): OpenFile {
  const bytes = bytesInMemory(path);
  if (!bytes) throw new Error(`there is no file ${path}: keep the FilesInMemory as long as they are read`);
  return {
    size: bytes.length,
    readAt(into, at) {
      if (at + into.length > bytes.length) return false;
      into.set(bytes.subarray(at, at + into.length));
      return true;
    },
    [Symbol.dispose]() {},
  };
}

/** Limits for JSON files and other descriptions of a model: those of safetensors headers. */
export const descriptionBounds = { bytes: 100_000_000, levels: 127 };

/**
 * Reads a file of at most `most` bytes. Throws an Error that names it when it is larger or not a regular
 * file, and NotFound when it does not exist.
 */
export async function readBytes(path: string, most: number = Infinity): Promise<Uint8Array<ArrayBuffer>> {
  const found = await statOf(path);
  if (!found) throw notFound(path);
  // A device or a pipe has size 0 and may never end.
  if (!found.isFile) throw new Error(`${path} is no file: put one in its place`);
  if (found.size > most) {
    throw new Error(
      `${path} has ${found.size} bytes, and such a file has ${most} at most: look what it holds`,
    );
  }
  // A copy, as from a disk: what is made of it may be changed.
  return bytesInMemory(path)?.slice() ?? await Deno.readFile(path);
}

function notFound(path: string): Error {
  const message = `there is no file ${path}: check its path`;
  return isInMemory(path) ? new Error(message) : new Deno.errors.NotFound(message);
}

/**
 * Reads a UTF-8 file of at most `most` bytes. Throws as `readBytes` does, and an Error that names the file
 * when it is not UTF-8.
 */
export async function readText(path: string, most: number = Infinity): Promise<string> {
  const bytes = await readBytes(path, most);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const where = `line ${badLine(bytes)}`;
    throw new Error(`${path} is not text in UTF-8 (${where}): download or write it again`, { cause: error });
  }
}

/** The line number, from 1, of the first bytes that are not UTF-8. */
function badLine(bytes: Uint8Array): number {
  const mended = new TextEncoder().encode(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes));
  const at = bytes.findIndex((byte, i) => byte !== mended[i]);
  return new TextDecoder().decode(bytes.subarray(0, at)).split(/\r\n|\r|\n/).length;
}

/**
 * Reads a JSON file that must fit `schema`. Throws an Error that names the file and the field that does not
 * fit.
 */
export async function readJson<Schema extends v.GenericSchema>(
  path: string,
  schema: Schema,
): Promise<v.InferOutput<Schema>> {
  return fitting(path, schema, await readAnyJson(path));
}

/**
 * Reads a JSON file. Throws an Error that names it when it is too large, nested too deeply, or not JSON;
 * `advice` is appended to the last.
 */
export async function readAnyJson(path: string, advice = "download or write it again"): Promise<unknown> {
  const text = await readText(path, descriptionBounds.bytes);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Error(`${path} is not JSON, or is cut short: ${(error as Error).message}: ${advice}`, {
      cause: error,
    });
  }
  if (isDeeper(json, descriptionBounds.levels)) {
    throw new Error(`${path} nests deeper than ${descriptionBounds.levels} levels: look what it holds`);
  }
  return json;
}

/** True when a value nests objects or arrays more than `levels` deep. */
function isDeeper(value: unknown, levels: number): boolean {
  if (value === null || typeof value !== "object") return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}

/**
 * Returns `json` as parsed by the schema. Throws an Error that names the file and the field that does not
 * fit.
 */
export function fitting<Schema extends v.GenericSchema>(
  path: string,
  schema: Schema,
  json: unknown,
): v.InferOutput<Schema> {
  const parsed = v.safeParse(schema, json);
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  const field = v.getDotPath(issue) ?? "file";
  throw new Error(`${path}: ${field}: ${issue.message}${adviceOn(field, issue.input)}`);
}

/** What to do about a field that does not fit, where that can be told. */
function adviceOn(field: string, value: unknown): string {
  if (field === "schemaVersion" && value !== undefined) {
    return ": another version of this library wrote the file; make it again, or read it with that version";
  }
  return value === null ? ": leave it out or give it a value" : "";
}
