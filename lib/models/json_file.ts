/** Text and JSON files read strictly, with errors that name the file. */

import * as v from "npm:valibot@1.5.0";

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
  const parsed = v.safeParse(schema, json);
  if (parsed.success) return parsed.output;
  throw new Error(`${path}: ${v.getDotPath(parsed.issues[0]) ?? "file"}: ${parsed.issues[0].message}`);
}
