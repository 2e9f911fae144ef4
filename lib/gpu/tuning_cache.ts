/** The file that keeps the autotuner's choices between processes. */

import * as v from "npm:valibot@1.5.0";
import { isFile, readJson } from "../files.ts";
import { recordOf } from "../record_schema.ts";
import { userCacheFolder } from "../user_cache.ts";

/** `bora-webgpu/kernels.json` in the user's cache folder; undefined where there is none, as in a browser. */
export function userCachePath(): string | undefined {
  const folder = userCacheFolder();
  return folder && `${folder}/kernels.json`;
}

/** Above this number, the oldest entries are dropped. */
const mostEntries = 2000;

const schema = v.object({ version: v.literal(1), choices: recordOf(v.string()) });

/**
 * Names of kernels by key. If the file cannot be read or written, its entries are lost and a line is
 * reported; nothing else fails.
 */
export class TuningCache {
  constructor(private readonly path: string, private readonly report: (line: string) => void) {}

  /** The entries of the file; none if there is no file or it is damaged. */
  async read(): Promise<ReadonlyMap<string, string>> {
    const entries = await this.#entries();
    if (!(entries instanceof Error)) return entries;
    this.report(`${entries.message}; starting without it`);
    return new Map();
  }

  /**
   * Adds entries to those in the file, as the newest, or replaces a damaged file. Another process writing at
   * the same moment can lose some entries, but never the file.
   */
  async add(found: ReadonlyMap<string, string>): Promise<void> {
    const entries = await this.#entries();
    const kept = entries instanceof Error ? [] : [...entries].filter(([key]) => !found.has(key));
    const choices = Object.fromEntries([...kept, ...found].slice(-mostEntries));
    const part = `${this.path}.${crypto.randomUUID()}.part`;
    try {
      await Deno.mkdir(this.path.slice(0, this.path.lastIndexOf("/")), { recursive: true });
      await Deno.writeTextFile(part, `${JSON.stringify({ version: 1, choices }, null, 1)}\n`);
      await Deno.rename(part, this.path);
    } catch (error) {
      this.report(`the choices hold for this run only: ${(error as Error).message}`);
    }
  }

  async #entries(): Promise<Map<string, string> | Error> {
    try {
      if (!await isFile(this.path)) return new Map();
      return new Map(Object.entries((await readJson(this.path, schema)).choices));
    } catch (error) {
      return error as Error;
    }
  }
}
