/** Files read strictly, with errors that name them, and written so that a reader, or a run cut short, never meets half of one. */

import * as v from "npm:valibot@1.5.0";

/** Writes `content` beside `path` and renames it, so a crash or a full disk leaves the old file whole. */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  await writeTogether({ [path]: content });
}

/** The same for files that belong together: none is renamed before all are written. */
export async function writeTogether(files: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await Deno.writeFile(`${path}.part`, bytes);
  }
  for (const path of Object.keys(files)) await Deno.rename(`${path}.part`, path);
}

/** True when `path` is a file, or a link to one. */
export async function isFile(path: string): Promise<boolean> {
  return (await statOf(path))?.isFile ?? false;
}

/** True when `path` is a folder, or a link to one. */
export async function isFolder(path: string): Promise<boolean> {
  return (await statOf(path))?.isDirectory ?? false;
}

async function statOf(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
    throw error;
  }
}

/** A UTF-8 file. Throws an Error that names it when it is none. */
export async function readText(path: string): Promise<string> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await Deno.readFile(path));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new Error(`${path} is not text in UTF-8: download or write it again`, { cause: error });
  }
}

/** A JSON file that fits `schema`. Throws an Error that names it, and the field that does not fit. */
export async function readJson<Schema extends v.GenericSchema>(
  path: string,
  schema: Schema,
): Promise<v.InferOutput<Schema>> {
  const text = await readText(path);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Error(`${path} is not JSON, or is cut short: ${(error as Error).message}`, { cause: error });
  }
  return fitting(path, schema, json);
}

/** `json` as the schema has it. Throws an Error that names the file, and the field that does not fit. */
export function fitting<Schema extends v.GenericSchema>(
  path: string,
  schema: Schema,
  json: unknown,
): v.InferOutput<Schema> {
  const parsed = v.safeParse(schema, json);
  if (parsed.success) return parsed.output;
  throw new Error(`${path}: ${v.getDotPath(parsed.issues[0]) ?? "file"}: ${parsed.issues[0].message}`);
}
