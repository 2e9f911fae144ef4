/** Loads a model of any family that is read here. */

import { isFile } from "../files.ts";
import { checkOptionNames } from "../option_names.ts";
import { isDecoderFolder } from "./described_model.ts";
import { decoderOptionNames, type DecoderOptions, loadDecoder } from "./load_decoder.ts";
import { loadEncoder } from "./load_encoder.ts";
import { locateModel } from "./locate_model.ts";
import type { Model } from "./model.ts";
import { packModel } from "./packing.ts";

/**
 * Loads the model `source`: a decoder as `loadDecoder` does, with its options, or an encoder as `loadEncoder` does, packed by
 * `packModel` if a packing is asked for. Only decoders have a `language`. Throws what these throw.
 */
export async function loadModel(
  source: string,
  options: DecoderOptions = {},
  report?: (line: string) => void,
): Promise<Model> {
  checkOptionNames("loadModel", options, decoderOptionNames);
  const { path } = await locateModel(source, options.hub);
  const isDecoder = await isFile(path) || await isDecoderFolder(path);
  if (isDecoder) return await loadDecoder(source, options);
  const encoder = await loadEncoder(source, options.hub, report);
  return options.packing ? packModel(encoder, options.packing) : encoder;
}
