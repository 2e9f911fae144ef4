/** What a folder of transformers says of its model beside the weights, which need not be there yet. */

import { readAnyJson } from "../files.ts";
import { decoderTypes, isDecoderType, readDecoderConfig } from "./decoder_config.ts";
import { readDecoderTokenizer } from "./decoder_tokenizer.ts";
import { encoderTypes, readEncoderConfig } from "./hugging_face_config.ts";
import { readTokenizer } from "./hugging_face_tokenizer.ts";
import { modelTypeIn } from "./model_type.ts";

/**
 * Whether the `config.json` of `folder` is that of a decoder.
 * @throws Error that names the file when it is that of no model that is read here.
 */
export async function isDecoderFolder(folder: string): Promise<boolean> {
  const path = `${folder}/config.json`;
  return isDecoderType(modelTypeIn(path, await readAnyJson(path), [...encoderTypes, ...decoderTypes]));
}

/**
 * Reads the configuration and the tokenizer in `folder`, and keeps nothing.
 * @throws Error that names the file and what of it is not read here.
 */
export async function checkDescription(folder: string): Promise<void> {
  if (await isDecoderFolder(folder)) {
    await readDecoderConfig(folder);
    await readDecoderTokenizer(folder);
  } else {
    await readEncoderConfig(folder);
    await readTokenizer(folder);
  }
}
