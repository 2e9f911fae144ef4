/**
 * What a GGUF file of an encoder with an adapter merged in holds: llama.cpp's architecture `bert`. It gives either a text's vector, the
 * mean over its tokens or the first token's row, or the outputs of a head on that row: cls.output · tanh(cls · x + b) + b, where BERT's
 * pooler or the head's dense layer is `cls`. Every token has type 0 there.
 */

import type { SavedAdapter } from "../adapters/peft.ts";
import { trunkNames } from "../models/load_encoder.ts";
import { weightShapes } from "../models/bert.ts";
import { encoderMetadata, type EncoderOutput } from "../models/gguf/encoder_metadata.ts";
import { clsNames, denseTables, encoderGgufName } from "../models/gguf/encoder_names.ts";
import { type EncoderConfig, readEncoderConfig } from "../models/hugging_face_config.ts";
import { readTokenizer } from "../models/hugging_face_tokenizer.ts";
import { readTensorPlaces } from "../models/hugging_face_weights.ts";
import type { Model } from "../models/model.ts";
import type { StoredPlace } from "../models/stored_place.ts";
import { StoredWeight } from "../models/stored_weight.ts";
import { mergedLabels } from "./merge_config.ts";
import type { NewValues } from "./merge_weight.ts";
import type { MergedParts, MergedTensor } from "./merged_gguf_file.ts";

/** A base, and the adapter that is merged into it. */
export interface EncoderMerge {
  /** The base's folder. */
  readonly path: string;
  readonly base: Model;
  /** The adapter's folder, and what is in it. */
  readonly folder: string;
  readonly saved: SavedAdapter;
  /** New values of the base's weights, by name. */
  readonly changes: ReadonlyMap<string, NewValues>;
  /** Receives a line where llama.cpp gives something else than this library. */
  readonly report: (line: string) => void;
}

/**
 * The parts of an encoder's file. `report` is told that a head on a mean over tokens is left out, for which llama.cpp has no place, and
 * that pairs of texts differ where tokens have types.
 * @throws Error when an adapter without a head leaves nothing but BERT's pooler, whose output llama.cpp does not give, and what
 * `encoderMetadata` throws.
 */
export async function encoderParts(merge: EncoderMerge): Promise<MergedParts> {
  const config = await readEncoderConfig(merge.path);
  const output = await outputOf(merge, config);
  return {
    metadata: await encoderMetadata(merge.path, config, output),
    tensors: [
      ...await trunkOf(merge, config),
      ..."labels" in output ? headOf(merge) : [],
    ],
  };
}

async function outputOf(
  { path, base, folder, saved, report }: EncoderMerge,
  { types, typedPairs, pooling }: EncoderConfig,
): Promise<EncoderOutput> {
  const projection = saved.weights.get(`${base.head.projection}.weight`);
  if (pooling !== "first") {
    if (projection) {
      report(
        `${folder}: its head is left out: llama.cpp has none on the ${pooling} of a text's tokens, and gives that vector; apply ` +
          `${base.head.projection}.weight and ${base.head.projection}.bias to it`,
      );
    }
    return { pooling };
  }
  if (!projection) {
    if (!base.pooler) return { pooling };
    throw new Error(
      `${folder} has no head, and llama.cpp gives the output of BERT's pooler to a head alone: train it with one, PEFT by ` +
        `task_type="SEQ_CLS"`,
    );
  }
  if (typedPairs && types > 1 && (await readTokenizer(path)).typesPairs) {
    report(
      `${path}: llama.cpp gives both texts of a pair token type 0: the head's outputs for pairs differ there`,
    );
  }
  return { labels: await mergedLabels(path, folder, projection.shape[0]) };
}

/** The trunk's tensors, with the changes. The pooler is a part of the head. */
async function trunkOf(merge: EncoderMerge, config: EncoderConfig): Promise<MergedTensor[]> {
  const places = await placesOf(merge.path, config);
  const names = [...weightShapes({ ...config, pooler: false }).keys()];
  return names.map((own) => {
    const name = encoderGgufName(own);
    const place = places.get(own)!;
    const change = merge.changes.get(`${config.prefix}.${own}`);
    const first = name === "position_embd.weight" ? config.firstPosition : 0;
    const [rows, ...row] = place.shape;
    return {
      name,
      shape: [rows - first, ...row],
      staysF32: denseTables.includes(name),
      async *values() {
        if (change) yield (await change()).subarray(first * (row[0] ?? 1));
        else yield* new StoredWeight(place, [first, rows]).pieces();
      },
    };
  });
}

/** Where the trunk's tensors are, by their names without the prefix. */
async function placesOf(folder: string, { prefix }: EncoderConfig): Promise<Map<string, StoredPlace>> {
  const places = await readTensorPlaces(folder);
  return new Map([...trunkNames(prefix, [...places.keys()])].map(([name, own]) => [own, places.get(name)!]));
}

/** The head's tensors: what comes before the outputs, if there is something, and the outputs. */
function headOf({ base, saved, changes }: EncoderMerge): MergedTensor[] {
  const { head: { dense = base.pooler, projection } } = base;
  const layers = [...dense ? [[dense, clsNames.dense]] : [], [projection, clsNames.projection]];
  return layers.flatMap(([path, name]) =>
    ["weight", "bias"].map((kind) => {
      const own = `${path}.${kind}`;
      const weight = saved.weights.get(own) ?? base.weights.get(own)!;
      return {
        name: `${name}.${kind}`,
        shape: weight.shape,
        async *values() {
          yield await changes.get(own)?.() ?? weight.data;
        },
      };
    })
  );
}
