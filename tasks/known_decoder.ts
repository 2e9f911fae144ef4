/** Finds a decoder for commands that compute nothing with it: one that is here, or the shape of a published one. */

import { isFile, isFolder, namesIn } from "../lib/files.ts";
import { readDecoderConfig } from "../lib/models/decoder_config.ts";
import { type DecoderOptions, loadDecoder } from "../lib/models/load_decoder.ts";
import type { Decoder } from "../lib/models/model.ts";
import { isFetched, packagedModel } from "../lib/models/packaged_models.ts";
import { publishedDecoder, publishedDecoders } from "../lib/models/published_configs.ts";
import { unloadedDecoder } from "../lib/models/unloaded_decoder.ts";
import { unknownModel } from "./unknown_model.ts";

/** A decoder, and how much of it was read. */
export interface KnownDecoder {
  readonly model: Decoder;
  /** Whether it has its own tokenizer and weights. Otherwise the number of tokens is estimated from characters. */
  readonly isHere: boolean;
}

/**
 * The decoder of a file, a folder (its `config.json` is enough), a packaged model that was fetched, or the shape of a published
 * one by its id. Nothing is downloaded. Throws a UsageError for another name, and what `loadDecoder` throws.
 */
export async function knownDecoder(source: string, options?: DecoderOptions): Promise<KnownDecoder> {
  const packaged = packagedModel(source);
  const isHere = await isFile(source) || (packaged && await isFetched(packaged)) ||
    (await isFolder(source) && await hasWeights(source));
  if (isHere) return { model: await loadDecoder(source, options), isHere: true };
  const config = await isFolder(source) ? await readDecoderConfig(source) : publishedDecoder(source);
  if (config) return { model: unloadedDecoder(source, config), isHere: false };
  throw unknownModel(source, publishedDecoders);
}

async function hasWeights(folder: string): Promise<boolean> {
  return (await namesIn(folder)).some((name) => /\.(safetensors|gguf)$/.test(name));
}
