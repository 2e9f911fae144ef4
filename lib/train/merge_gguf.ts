/** Writes a decoder with an adapter merged in as a GGUF file that llama.cpp loads. */

import { checkMergeable } from "../adapters/merge.ts";
import { loadAdapter } from "../adapters/peft.ts";
import { methods } from "../adapters/registry.ts";
import { constantWeights } from "../adapters/starting_weights.ts";
import { cardFile, cardText } from "../adapters/card/card.ts";
import { mergedCard } from "../adapters/card/merged_card.ts";
import { isFile, refuseExisting, writeFolder, writeWhole } from "../files.ts";
import type { Gpu } from "../gpu/device.ts";
import { decodedFrom, encodedAs, type WrittenDtype } from "../models/gguf/dtypes.ts";
import { folderMetadata } from "../models/gguf/folder_metadata.ts";
import { readGgufHeader } from "../models/gguf/header.ts";
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
import { type GgufTensor, writeGguf } from "../models/gguf/writer.ts";
import { readTensorPlaces } from "../models/hugging_face_weights.ts";
import { loadDecoder } from "../models/load_decoder.ts";
import { locateModel } from "../models/locate_model.ts";
import { blockOf, sizeOf, type StoredPlace } from "../models/stored_place.ts";
import { PieceRoom, StoredWeight } from "../models/stored_weight.ts";
import { PassingDigest } from "../models/values_digest.ts";
import { FrozenWeights } from "../run/frozen_weights.ts";
import { changesOf, type NewValues } from "./merge_weight.ts";

/** A type that matrices of a merged GGUF file can have: 16 bits a value, or 8.5 in blocks of 32. */
export type GgufType = "f16" | "q8_0";

/** All of them. */
export const ggufTypes: readonly GgufType[] = ["f16", "q8_0"];

/** What to merge, and where. */
export interface MergeGgufOptions {
  /** Computes the merged weights. */
  readonly gpu: Gpu;
  /** The base: a GGUF file, the first of a set, a folder of transformers, or the id of one. */
  readonly model: string;
  /** The adapter's folder. */
  readonly adapter: string;
  /** A folder that does not exist yet: it gets `model.gguf`. */
  readonly out: string;
  /** The type of the matrices. */
  readonly type: GgufType;
  /** Receives `loadAdapter`'s messages about the base. */
  readonly report?: (line: string) => void;
}

/** `general.file_type` (llama.cpp: `LlamaFileType`). */
const fileTypes = { f16: 1, q8_0: 7 };

/**
 * Merges an adapter into a decoder and writes `model.gguf` in the folder `out`, with the metadata of the base's own GGUF file, or with
 * those that its folder says for certain (see `folderMetadata`). All matrices are written in `type`, those that the adapter leaves alone as well, and as F16 where a row is no whole number of blocks;
 * vectors stay F32. Only one tensor at a time is in memory. A README.md beside it is a model card of the Hugging Face hub's. The file is read back before `out` appears: every tensor's values must
 * be those that were written. Of a set of files one is made.
 * @throws Error when `out` exists, or the method cannot be merged, and what `loadDecoder`, `loadAdapter` and `folderMetadata` throw.
 * No `out` is left then.
 */
export async function saveMergedGguf(options: MergeGgufOptions): Promise<void> {
  const { gpu, model: source, adapter: folder, out, type, report } = options;
  await refuseExisting(out);
  const { path } = await locateModel(source);
  const base = await loadDecoder(source, { unpack: true });
  const parts = await isFile(path) ? await partsOfFile(path) : await partsOfFolder(path);
  const saved = await loadAdapter(folder, base, methods, report);
  checkMergeable(saved.adapter.method);
  using own = new FrozenWeights(gpu, new Map([...constantWeights(base, saved.adapter), ...saved.weights]));
  const tensors = tensorsOf(parts, changesOf(gpu, base, saved, own), type);
  await writeFolder(out, async (part) => {
    const written = `${part}/model.gguf`;
    await writeGguf(written, metadataOf(parts, type), tensors.map(({ tensor }) => tensor));
    await checkWritten(written, tensors);
    await writeWhole(`${part}/${cardFile}`, cardText(mergedCard(base, saved, "gguf")));
  });
}

/** What the base's files hold. */
interface Parts {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly layout: GgufLayout;
  /** The tensors by their names in Hugging Face's models, with their rows in those models' order. */
  readonly places: ReadonlyMap<string, StoredPlace>;
  /** See `FolderMetadata`. */
  readonly divisors?: Float32Array<ArrayBuffer>;
}

async function partsOfFile(path: string): Promise<Parts> {
  const model = await readGguf(path);
  const { metadata } = model;
  return { metadata: metadata.values, layout: layoutOf(metadata), places: huggingFacePlaces(model) };
}

async function partsOfFolder(folder: string): Promise<Parts> {
  const { names, ...parts } = await folderMetadata(folder);
  const all = await readTensorPlaces(folder);
  return { ...parts, places: new Map([...names].map((name) => [name, all.get(name)!])) };
}

/** The base's metadata, without what is said of its own files and quantisation. */
function metadataOf({ metadata }: Parts, type: GgufType): Map<string, GgufValue> {
  const kept = [...metadata].filter(([key]) => !/^(split|quantize)\./.test(key));
  return new Map<string, GgufValue>([
    ...kept,
    ["general.file_type", { type: "uint32", value: fileTypes[type] }],
    ...type === "q8_0"
      ? [["general.quantization_version", { type: "uint32", value: 2 }] as [string, GgufValue]]
      : [],
  ]);
}

/** A tensor to write, and the digest of its values as they are written. */
interface Merged {
  readonly tensor: GgufTensor;
  readonly digest: PassingDigest;
}

/** The model's tensors, in the order of the base's. */
function tensorsOf(
  { layout, places, divisors }: Parts,
  changes: ReadonlyMap<string, NewValues>,
  type: GgufType,
): Merged[] {
  const scaled = divisors
    ? [merged(ropeDivisors, [divisors.length], "F32", async function* () {
      yield await Promise.resolve(divisors);
    })]
    : [];
  return [
    ...scaled,
    ...[...places].map(([name, place]) => {
      const gguf = ggufName(name)!;
      const whole = changes.get(name) ??
        (movedHeads(layout, gguf) === undefined
          ? undefined
          : () => Promise.resolve(new StoredWeight(place).data));
      return merged(gguf, place.shape, dtypeFor(place, type), async function* () {
        if (whole) yield inFileOrder(layout, gguf, await whole(), place.shape[0]);
        else yield* new StoredWeight(place).pieces();
      });
    }),
  ];
}

function dtypeFor({ shape }: StoredPlace, type: GgufType): WrittenDtype {
  if (shape.length < 2) return "F32";
  return type === "q8_0" && shape.at(-1)! % blockOf("Q8_0").values === 0 ? "Q8_0" : "F16";
}

function merged(
  name: string,
  shape: readonly number[],
  dtype: WrittenDtype,
  values: () => AsyncIterable<Float32Array<ArrayBuffer>>,
): Merged {
  const digest = new PassingDigest(sizeOf({ shape }));
  return {
    digest,
    tensor: {
      name,
      dtype,
      shape,
      async *pieces() {
        for await (const piece of values()) {
          const bytes = encodedAs(dtype, name, piece);
          digest.take(digest.taken, decodedFrom(dtype, bytes, piece.length));
          yield bytes;
        }
      },
    },
  };
}

/** Throws an Error unless the file at `path` has these tensors, with the values that were written. */
async function checkWritten(path: string, tensors: readonly Merged[]): Promise<void> {
  const { places } = await readGgufHeader(path);
  const room = new PieceRoom();
  for (const { tensor: { name, dtype, shape }, digest } of tensors) {
    const place = places.get(name);
    const isThere = place?.dtype === dtype && place.shape.join() === shape.join();
    if (isThere && new StoredWeight(place).digest(room) === digest.value) continue;
    throw new Error(
      `${path}: tensor "${name}" is not read as it was written: look at the disk, and merge again`,
    );
  }
}
