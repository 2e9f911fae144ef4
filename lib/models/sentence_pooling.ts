/**
 * How a folder of sentence-transformers (Reimers and Gurevych 2019) turns a text's tokens into its vector: `modules.json` lists
 * its modules, and the `config.json` of the one called Pooling says what is taken. Normalize, which scales vectors to length 1
 * so that their products are cosines, is left out: a head learns its own scale, and fixing the vectors' would bound its logits.
 */

import * as v from "npm:valibot@1.5.0";
import { isFile, readJson } from "../files.ts";
import type { Pooling } from "./pooling.ts";

/** The description of a folder's modules, in the folder. */
export const modulesFile = "modules.json";

/** Plain folder names only, so that a list of modules cannot point outside its folder. */
const modulesSchema = v.array(
  v.looseObject({
    path: v.pipe(v.string(), v.regex(/^[\w-]*$/, "name a folder beside it")),
    type: v.string(),
  }),
);

const knownModules = ["Transformer", "Pooling", "Normalize"];

/** By the flags of older versions, and by the names that sentence-transformers 6 writes under `pooling_mode`. */
const modes: Readonly<Record<string, Pooling>> = {
  pooling_mode_mean_tokens: "mean",
  pooling_mode_cls_token: "first",
  mean: "mean",
  cls: "first",
};

const poolingSchema = v.record(v.string(), v.unknown());

/**
 * The file in `folder` that says how tokens are pooled, such as `1_Pooling/config.json`; undefined in a folder that is not of
 * sentence-transformers.
 * @throws Error that names `modules.json` when it is malformed or lists a module that is not computed here.
 */
export async function poolingFile(folder: string): Promise<string | undefined> {
  const usual = "1_Pooling/config.json";
  const path = `${folder}/${modulesFile}`;
  if (!await isFile(path)) return await isFile(`${folder}/${usual}`) ? usual : undefined;
  const modules = (await readJson(path, modulesSchema)).map(({ path, type }) => ({
    path,
    kind: type.split(".").at(-1)!,
  }));
  const other = modules.find(({ kind }) => !knownModules.includes(kind));
  if (other) {
    throw new Error(
      `${path}: its module "${other.path}" is a ${other.kind}, and only ${
        knownModules.join(", ")
      } are read here: ` +
        `take another model, or take the module out to have the vectors without it`,
    );
  }
  const pooling = modules.find(({ kind }) => kind === "Pooling");
  return pooling && `${pooling.path}/config.json`;
}

/**
 * Reads how the sentence-transformers folder `folder` pools tokens; undefined if it does not say.
 * @throws Error as `poolingFile` does, and one that names the pooling's file when it asks for anything else than the mean over
 * the tokens or the first token.
 */
export async function readPooling(folder: string): Promise<Pooling | undefined> {
  const file = await poolingFile(folder);
  if (file === undefined) return undefined;
  const path = `${folder}/${file}`;
  const config = await readJson(path, poolingSchema);
  const asked = askedModes(config);
  const [mode] = asked;
  if (asked.length === 1 && Object.hasOwn(modes, mode)) return modes[mode];
  throw new Error(
    `${path} asks for ${
      asked.length > 0 ? asked.join(" and ") : "no pooling"
    }: vectors are made here of the mean over ` +
      "the tokens or of the first alone; take a model with one of them",
  );
}

/** The names of the poolings that a configuration asks for. As in sentence-transformers, `pooling_mode` counts before the flags. */
function askedModes(config: Readonly<Record<string, unknown>>): string[] {
  if ("pooling_mode" in config) return [config.pooling_mode].flat().map(String);
  return Object.keys(config).flatMap((name) => {
    const value = config[name];
    if (!name.startsWith("pooling_mode") || value === false) return [];
    return [value === true ? name : `${name} = ${JSON.stringify(value)}`];
  });
}
