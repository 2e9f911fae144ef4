/** Writes a decoder that came as GGUF with an adapter merged in, as a GGUF file that llama.cpp loads. */

import { checkMergeable } from "../adapters/merge.ts";
import { loadAdapter } from "../adapters/peft.ts";
import { methods } from "../adapters/registry.ts";
import { constantWeights } from "../adapters/starting_weights.ts";
import { isFile, refuseExisting, writeFolder } from "../files.ts";
import type { Gpu } from "../gpu/device.ts";
import { encodedAs, type WrittenDtype } from "../models/gguf/dtypes.ts";
import { type GgufPlace, readGgufHeader } from "../models/gguf/header.ts";
import { huggingFacePlaces, inFileOrder, layoutOf } from "../models/gguf/hugging_face_places.ts";
import type { GgufMetadata, GgufValue } from "../models/gguf/metadata.ts";
import { type GgufModel, readGguf } from "../models/gguf/split_set.ts";
import { type GgufTensor, writeGguf } from "../models/gguf/writer.ts";
import { loadDecoder } from "../models/load_decoder.ts";
import { locateModel } from "../models/locate_model.ts";
import { blockOf, sizeOf, valuesOf } from "../models/stored_place.ts";
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
  /** The base: a GGUF file, the first of a set, or the id of one. */
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
 * Merges an adapter into a GGUF model and writes `model.gguf` in the folder `out`, with the base's metadata and tokenizer. All
 * matrices are written in `type`, those that the adapter leaves alone as well, and as F16 where a row is no whole number of blocks;
 * vectors stay F32. Only one tensor at a time is in memory. The file is read back before `out` appears: every tensor's values must
 * be those that were written. Of a set of files one is made.
 * @throws Error when `out` exists, the base is a folder of transformers, or the method cannot be merged, and what `loadDecoder` and
 * `loadAdapter` throw. No `out` is left then.
 */
export async function saveMergedGguf(options: MergeGgufOptions): Promise<void> {
  const { gpu, model: source, adapter: folder, out, type, report } = options;
  await refuseExisting(out);
  const { path } = await locateModel(source);
  if (!await isFile(path)) {
    throw new Error(
      `${path} is a folder of transformers, whose tokenizer has no certain form in GGUF: merge it into a folder, and convert ` +
        `that with llama.cpp's convert_hf_to_gguf.py`,
    );
  }
  const base = await loadDecoder(source, { unpack: true });
  const saved = await loadAdapter(folder, base, methods, report);
  checkMergeable(saved.adapter.method);
  using own = new FrozenWeights(gpu, new Map([...constantWeights(base, saved.adapter), ...saved.weights]));
  const model = await readGguf(path);
  const tensors = tensorsOf(model, changesOf(gpu, base, saved, own), type);
  await writeFolder(out, async (part) => {
    const written = `${part}/model.gguf`;
    await writeGguf(written, metadataOf(model.metadata, type), tensors.map(({ tensor }) => tensor));
    await checkWritten(written, tensors);
  });
}

/** The base's metadata, without what is said of its own files and quantisation. */
function metadataOf(metadata: GgufMetadata, type: GgufType): Map<string, GgufValue> {
  const kept = [...metadata.values].filter(([key]) => !/^(split|quantize)\./.test(key));
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

/** The model's tensors, in the order of their data. */
function tensorsOf(
  model: GgufModel,
  changes: ReadonlyMap<string, NewValues>,
  type: GgufType,
): Merged[] {
  const layout = layoutOf(model.metadata);
  return [...huggingFacePlaces(model)].map(([name, { rowAt: _, ...place }]) => {
    const change = changes.get(name);
    const dtype = dtypeFor(place, type);
    return merged(place, dtype, async function* () {
      if (change) yield inFileOrder(layout, place.name, await change(), place.shape[0]);
      else yield* new StoredWeight(place).pieces();
    });
  });
}

function dtypeFor({ shape }: GgufPlace, type: GgufType): WrittenDtype {
  if (shape.length < 2) return "F32";
  return type === "q8_0" && shape.at(-1)! % blockOf("Q8_0").values === 0 ? "Q8_0" : "F16";
}

function merged(
  place: GgufPlace,
  dtype: WrittenDtype,
  values: () => AsyncIterable<Float32Array<ArrayBuffer>>,
): Merged {
  const { name, shape } = place;
  const digest = new PassingDigest(sizeOf(place));
  return {
    digest,
    tensor: {
      name,
      dtype,
      shape,
      async *pieces() {
        for await (const piece of values()) {
          const bytes = encodedAs(dtype, name, piece);
          const rounded = valuesOf({ ...place, dtype }, bytes, new Float32Array(piece.length));
          digest.take(digest.taken, rounded);
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
