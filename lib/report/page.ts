/** A page of results with its charts, made of a record alone: what was measured is written once, and can be shown anew at any time. */

import type * as v from "npm:valibot@1.5.0";
import { fitting, makeFolder, readAnyJson, writeTogether } from "../files.ts";

/** Contents of files by the ends of their names: `.md`, `.svg`, `-random.svg`. */
export type PageFiles = Readonly<Record<`${string}.${"md" | "svg"}`, string>>;

/** A kind of page. */
export interface Page<R = never> {
  /** What its files' names begin with: `bench` of bench.json, bench.md and bench.svg. */
  readonly name: string;
  /** What the record at `path` comes to. Throws an Error that names the file, and the field that is wrong. */
  rendered(path: string): Promise<PageFiles>;
  /** Writes a record and what it comes to into `folder`, which is made; gives the markdown. */
  write(folder: string, record: R): Promise<string>;
}

/** The page called `name` of records that fit `schema`; `render` may use nothing but the record. */
export function definePage<S extends v.GenericSchema>(
  name: string,
  schema: S,
  render: (record: v.InferOutput<S>) => PageFiles | Promise<PageFiles>,
): Page<v.InferOutput<S>> {
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

/** The files with `path` before the ends of their names. */
export function named(files: PageFiles, path: string): Record<string, string> {
  return Object.fromEntries(Object.entries(files).map(([end, text]) => [path + end, text]));
}
