/** Whether a model is a decoder, as far as its name or its files tell: nothing is downloaded. */

import { existsSync, readFileSync } from "node:fs";
import * as v from "npm:valibot@1.5.0";
import { isDecoderType } from "../../lib/models/decoder_config.ts";
import { publishedDecoder } from "../../lib/models/published_configs.ts";

const typeSchema = v.looseObject({ model_type: v.optional(v.unknown()) });

/**
 * True for a published decoder's id, a GGUF file, and a folder that holds a decoder. Throws an Error that names a config.json which
 * is no JSON object.
 */
export function isDecoderSource(source: string): boolean {
  if (publishedDecoder(source) || source.endsWith(".gguf")) return true;
  const path = `${source}/config.json`;
  if (existsSync(path)) return isDecoderType(typeIn(path));
  return existsSync(source) && Deno.statSync(source).isDirectory &&
    [...Deno.readDirSync(source)].some(({ name }) => name.endsWith(".gguf"));
}

/** `model_type` in the config.json at `path`. */
function typeIn(path: string): unknown {
  try {
    return v.parse(typeSchema, JSON.parse(readFileSync(path, "utf8"))).model_type;
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}: download or write it again`, { cause: error });
  }
}
