/** Models of published configurations, without their weights. */

import type { Model } from "./model.ts";
import { publishedDecoder, publishedEncoder } from "./published_configs.ts";
import { unloadedDecoder, type UnloadedOptions } from "./unloaded_decoder.ts";
import { unloadedEncoder } from "./unloaded_encoder.ts";

/** The published model `id`, called so; a decoder with these options. Undefined if none is published under this id. */
export function unloadedModel(id: string, options: UnloadedOptions = {}): Model | undefined {
  const encoder = publishedEncoder(id);
  if (encoder) return unloadedEncoder(id, encoder);
  const decoder = publishedDecoder(id);
  return decoder && unloadedDecoder(id, decoder, options);
}
