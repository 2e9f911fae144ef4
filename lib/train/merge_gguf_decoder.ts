/** What a GGUF file of a decoder with an adapter merged in holds. */

import { isFile } from "../files.ts";
import { folderMetadata } from "../models/gguf/folder_metadata.ts";
import {
  type GgufLayout,
  ggufName,
  huggingFacePlaces,
  inFileOrder,
  layoutOf,
  movedHeads,
  ropeDivisors,
} from "../models/gguf/hugging_face_places.ts";
import type { GgufValue } from "../models/gguf/metadata.ts";
import { readGguf } from "../models/gguf/split_set.ts";
import { readTensorPlaces } from "../models/hugging_face_weights.ts";
import type { StoredPlace } from "../models/stored_place.ts";
import { StoredWeight } from "../models/stored_weight.ts";
import type { NewValues } from "./merge_weight.ts";
import type { MergedParts, MergedTensor } from "./merged_gguf_file.ts";

/** What the base's files hold. */
interface BaseParts {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly layout: GgufLayout;
  /** The tensors by their names in Hugging Face's models, with their rows in those models' order. */
  readonly places: ReadonlyMap<string, StoredPlace>;
  /** See `FolderMetadata`. */
  readonly divisors?: Float32Array<ArrayBuffer>;
}

/**
 * The parts of the decoder at `path`, a GGUF file or a folder, with `changes` to its weights: the metadata of the base's own file, or
 * those that its folder says for certain (see `folderMetadata`, whose errors it throws). Of a set of files one is made.
 */
export async function decoderParts(
  path: string,
  changes: ReadonlyMap<string, NewValues>,
): Promise<MergedParts> {
  const parts = await isFile(path) ? await partsOfFile(path) : await partsOfFolder(path);
  // Without what is said of the base's own files and quantisation.
  const metadata = [...parts.metadata].filter(([key]) => !/^(split|quantize)\./.test(key));
  return { metadata: new Map(metadata), tensors: tensorsOf(parts, changes) };
}

async function partsOfFile(path: string): Promise<BaseParts> {
  const model = await readGguf(path);
  const { metadata } = model;
  return { metadata: metadata.values, layout: layoutOf(metadata), places: huggingFacePlaces(model) };
}

async function partsOfFolder(folder: string): Promise<BaseParts> {
  const { names, ...parts } = await folderMetadata(folder);
  const all = await readTensorPlaces(folder);
  return { ...parts, places: new Map([...names].map((name) => [name, all.get(name)!])) };
}

/** The model's tensors, in the order of the base's. */
function tensorsOf(
  { layout, places, divisors }: BaseParts,
  changes: ReadonlyMap<string, NewValues>,
): MergedTensor[] {
  const scaled = divisors ? [{ name: ropeDivisors, shape: [divisors.length], values: () => [divisors] }] : [];
  return [
    ...scaled,
    ...[...places].map(([name, place]) => {
      const gguf = ggufName(name)!;
      const whole = changes.get(name) ??
        (movedHeads(layout, gguf) === undefined
          ? undefined
          : () => Promise.resolve(new StoredWeight(place).data));
      return {
        name: gguf,
        shape: place.shape,
        async *values() {
          if (whole) yield inFileOrder(layout, gguf, await whole(), place.shape[0]);
          else yield* new StoredWeight(place).pieces();
        },
      };
    }),
  ];
}
