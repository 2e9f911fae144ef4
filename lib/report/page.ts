/**
 * Pages of results with their charts, rendered from records alone: a measurement is stored once and can be
 * rendered again at any time.
 */

import type * as v from "npm:valibot@1.5.0";
import { fitting, makeFolder, readAnyJson, writeTogether } from "../files.ts";

/** File contents by the end of the file's name: `.md`, `.svg`, `-random.svg`. */
export type PageFiles = Readonly<Record<`${string}.${"md" | "svg"}`, string>>;

/** A kind of page. */
export interface Page {
  /**
   * The start of its files' names: `bench` for bench.json, bench.md and bench.svg. One that ends with a dash goes on with a model's
   * name.
   */
  readonly name: string;
  /** Renders the record at `path`. Throws an Error that names the file and the wrong field. */
  rendered(path: string): Promise<PageFiles>;
}

/** A kind of page whose record is all that it is made from. */
export interface RecordPage<R> extends Page {
  /** Writes a record and its rendered page into `folder`, which is created if needed. Returns the markdown. */
  write(folder: string, record: R): Promise<string>;
}

/** Defines the page called `name` for records that fit `schema`. `render` may use nothing but the record. */
export function definePage<S extends v.GenericSchema>(
  name: string,
  schema: S,
  render: (record: v.InferOutput<S>) => PageFiles | Promise<PageFiles>,
): RecordPage<v.InferOutput<S>> {
  return {
    name,
    async rendered(path) {
      return await render(fitting(path, schema, await readAnyJson(path, "measure it again")));
    },
    async write(folder, record) {
      const files = await render(record);
      await makeFolder(folder);
      await writeTogether({
        [`${folder}/${name}.json`]: `${JSON.stringify(record, null, 1)}\n`,
        ...named(files, `${folder}/${name}`),
      });
      return files[".md"];
    },
  };
}

/** Full paths of the files: `path` followed by the end of each name. */
export function named(files: PageFiles, path: string): Record<string, string> {
  return Object.fromEntries(Object.entries(files).map(([end, text]) => [path + end, text]));
}
