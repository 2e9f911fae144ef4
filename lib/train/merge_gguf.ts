/** Writes a model with an adapter merged in as a GGUF file that llama.cpp loads. */

import { checkMergeable } from "../adapters/merge.ts";
import { loadAdapter } from "../adapters/peft.ts";
import { methods } from "../adapters/registry.ts";
import { constantWeights } from "../adapters/starting_weights.ts";
import { cardFile, cardText } from "../adapters/card/card.ts";
import { mergedCard } from "../adapters/card/merged_card.ts";
import { refuseExisting, writeFolder, writeWhole } from "../files.ts";
import type { Gpu } from "../gpu/device.ts";
import type { GgufValue } from "../models/gguf/metadata.ts";
import { loadModel } from "../models/load_model.ts";
import { locateModel } from "../models/locate_model.ts";
import { mergedKey, mergedText, mergedWith } from "../models/merged_adapters.ts";
import { FrozenWeights } from "../run/frozen_weights.ts";
import { decoderParts } from "./merge_gguf_decoder.ts";
import { encoderParts } from "./merge_gguf_encoder.ts";
import { changesOf } from "./merge_weight.ts";
import { type GgufType, writeMergedGguf } from "./merged_gguf_file.ts";

/** What to merge, and where. */
export interface MergeGgufOptions {
  /** Computes the merged weights. */
  readonly gpu: Gpu;
  /** The base: a GGUF file of a decoder, the first of a set, a folder of transformers, or the id of one. */
  readonly model: string;
  /** The adapter's folder. */
  readonly adapter: string;
  /** A folder that does not exist yet: it gets `model.gguf`. */
  readonly out: string;
  /** The type of the matrices. */
  readonly type: GgufType;
  /** Receives `loadAdapter`'s messages about the base, and lines about what llama.cpp does otherwise; by default `console.warn`. */
  readonly report?: (line: string) => void;
}

/**
 * Merges an adapter into a model and writes `model.gguf` in the folder `out`. A decoder's metadata are those of its own GGUF file, or
 * those that its folder says for certain (see `folderMetadata`); an encoder's see `encoderParts`. All matrices are written in `type`,
 * those that the adapter leaves alone as well, and as F16 where a row is no whole number of blocks; vectors and an encoder's tables of
 * positions and token types stay F32. Only one tensor at a time is in memory. The file is read back before `out` appears: every
 * tensor's values must be those that were written. A README.md beside it is a model card of the Hugging
 * Face hub's. The metadata say which adapter is in it, so that `loadAdapter` refuses it there.
 * @throws Error when `out` exists, or the method cannot be merged, and what `loadModel`, `loadAdapter`, `folderMetadata` and
 * `encoderParts` throw. No `out` is left then.
 */
export async function saveMergedGguf(options: MergeGgufOptions): Promise<void> {
  const { gpu, model: source, adapter: folder, out, type, report = console.warn } = options;
  await refuseExisting(out);
  const { path } = await locateModel(source);
  const base = await loadModel(source, { unpack: true }, report);
  const saved = await loadAdapter(folder, base, methods, report);
  checkMergeable(saved.adapter.method);
  using own = new FrozenWeights(gpu, new Map([...constantWeights(base, saved.adapter), ...saved.weights]));
  const changes = changesOf(gpu, base, saved, own);
  const { metadata, tensors } = base.language
    ? await decoderParts(path, changes)
    : await encoderParts({ path, base, folder, saved, changes, report });
  const noted = new Map<string, GgufValue>([
    ...metadata,
    [mergedKey, { type: "string", value: mergedText(mergedWith(base, saved.weights)) }],
  ]);
  await writeFolder(out, async (part) => {
    await writeMergedGguf(`${part}/model.gguf`, { metadata: noted, tensors }, type);
    await writeWhole(`${part}/${cardFile}`, cardText(mergedCard(base, saved, "gguf")));
  });
}
