/** Whether a model is a decoder, as far as its name or its files tell: nothing is downloaded. */

import { existsSync, readFileSync } from "node:fs";
import { isDecoderType } from "../../lib/models/decoder_config.ts";
import { publishedDecoder } from "../../lib/models/published_configs.ts";

/** True for a published decoder's id, a GGUF file, and a folder that holds a decoder. */
export function isDecoderSource(source: string): boolean {
  if (publishedDecoder(source) || source.endsWith(".gguf")) return true;
  const path = `${source}/config.json`;
  if (existsSync(path)) return isDecoderType(JSON.parse(readFileSync(path, "utf8")).model_type);
  return existsSync(source) && Deno.statSync(source).isDirectory &&
    [...Deno.readDirSync(source)].some(({ name }) => name.endsWith(".gguf"));
}
