/** Finds the records in folders of results. */

import { isFolder, jsonFiles } from "../../lib/files.ts";
import type { Page } from "../../lib/report/page.ts";
import { pages } from "./registry.ts";

/** A record of a page. */
export interface FoundRecord {
  readonly page: Page;
  /** Its path in the folder without the extension, such as `swiftshader/bench`. */
  readonly place: string;
  readonly path: string;
}

/**
 * The records in `folder` and its subfolders, sorted by name; files with other names are skipped. Throws an
 * Error when it is not a folder.
 */
export async function recordsIn(folder: string): Promise<FoundRecord[]> {
  const root = folder.replace(/\/+$/, "");
  if (!await isFolder(root)) {
    throw new Error(`${root} is no folder: give one that --out of another command named`);
  }
  // The store's files are no records of pages.
  const paths = (await jsonFiles(root)).filter((path) => !path.slice(root.length).includes("/cells/"));
  const found = paths.flatMap((path) => {
    const place = path.slice(root.length + 1, -".json".length);
    const own = place.replace(/^.*\//, "");
    const page = pages.find(({ name }) => name.endsWith("-") ? own.startsWith(name) : name === own);
    return page ? [{ page, place, path }] : [];
  });
  return found;
}
