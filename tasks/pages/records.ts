/** The records in folders of results. */

import type { Page } from "../../lib/report/page.ts";
import { jsonFiles } from "../../lib/report/results.ts";
import { pages } from "./registry.ts";

/** A record of a page. */
export interface FoundRecord {
  readonly page: Page;
  /** Where it lies in the folder, without its ending: `swiftshader/bench`. */
  readonly place: string;
  readonly path: string;
}

/** The records in `folder` and the folders in it, by their names' order; files of other names are passed over. */
export async function recordsIn(folder: string): Promise<FoundRecord[]> {
  const root = folder.replace(/\/+$/, "");
  const found = (await jsonFiles(root)).flatMap((path) => {
    const place = path.slice(root.length + 1, -".json".length);
    const page = pages.find(({ name }) => name === place.replace(/^.*\//, ""));
    return page ? [{ page, place, path }] : [];
  });
  return found;
}
