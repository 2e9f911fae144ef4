/** Adapters on a tiny encoder and a tiny decoder, exported as plain LoRAs for PEFT to read. */

import { attach, type AttachOptions } from "../../lib/adapters/attach.ts";
import type { SavedAdapter } from "../../lib/adapters/peft.ts";
import { methodByName } from "../../lib/adapters/registry.ts";
import { startingWeights } from "../../lib/adapters/starting_weights.ts";
import { streamOf, uniform } from "../../lib/graph/random.ts";
import { loadDecoder } from "../../lib/models/load_decoder.ts";
import type { Model, Weight } from "../../lib/models/model.ts";
import { cases as decoders, writeDecoder } from "./decoder_reference.ts";
import { seededHead, tinyEncoders } from "./peft_encoders.ts";

/** What is exported: the base, the method, its options, and the rank if the export is to be the nearest LoRA of one. */
interface ExportCase {
  readonly base: "bert" | "decoder";
  readonly method: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly rank?: number;
}

const encoder = ["query", "value", "output.dense"];
const attention = ["query", "value"];
const decoder = ["q_proj", "k_proj", "v_proj", "down_proj"];

export const exportCases: Readonly<Record<string, ExportCase>> = {
  "BERT, BoRA b 8": { base: "bert", method: "BoRA", options: { r: 2, blocks: 8, target: encoder } },
  // b·r exceeds the layers' sides.
  "BERT, BoRA b 16": { base: "bert", method: "BoRA", options: { r: 2, blocks: 16, target: attention } },
  "BERT, BoRA b auto": { base: "bert", method: "BoRA", options: { r: 2, blocks: "auto", target: encoder } },
  "BERT, MELoRA": { base: "bert", method: "MELoRA", options: { r: 2, blocks: 4, target: encoder } },
  "BERT, GraLoRA": { base: "bert", method: "GraLoRA", options: { r: 4, blocks: 2, target: encoder } },
  "BERT, DoRA, rank 3": { base: "bert", method: "DoRA", options: { r: 2, target: encoder }, rank: 3 },
  "BERT, HiRA, rank 2": { base: "bert", method: "HiRA", options: { r: 2, target: encoder }, rank: 2 },
  "Decoder, BoRA b 8": { base: "decoder", method: "BoRA", options: { r: 2, blocks: 8, target: decoder } },
  "Decoder, BoRA b 16": { base: "decoder", method: "BoRA", options: { r: 1, blocks: 16, target: decoder } },
  // The layers' ranks differ: 12, 8 and 16.
  "Decoder, BoRA b auto": {
    ...{ base: "decoder", method: "BoRA", options: { r: 2, blocks: "auto", target: decoder } },
  },
  // 24 and 32, and 16 where keys and values have no more rows.
  "Decoder, BoRA b auto r 4": {
    ...{ base: "decoder", method: "BoRA", options: { r: 4, blocks: "auto", target: decoder } },
  },
  "Decoder, MELoRA": { base: "decoder", method: "MELoRA", options: { r: 2, blocks: 4, target: decoder } },
  "Decoder, GraLoRA": { base: "decoder", method: "GraLoRA", options: { r: 4, blocks: 4, target: decoder } },
  "Decoder, DoRA, rank 4": { base: "decoder", method: "DoRA", options: { r: 2, target: decoder }, rank: 4 },
};

/** The bases by name, written under `folder`. */
export async function exportBases(folder: string): Promise<ReadonlyMap<string, Model>> {
  const encoders = await tinyEncoders(folder);
  await writeDecoder(`${folder}/decoder`, decoders["SmolLM2"]);
  return new Map([["bert", encoders.get("bert")!], ["decoder", await loadDecoder(`${folder}/decoder`)]]);
}

/** A case's adapter, none of its tensors left where it starts; with a head on the encoder. */
export function trainedCase(name: string, bases: ReadonlyMap<string, Model>): SavedAdapter {
  const { base, method, options } = exportCases[name];
  const model = bases.get(base)!;
  const adapter = attach(model, methodByName(method), options as unknown as AttachOptions);
  const start = [...startingWeights(model, adapter, 0), ...model.language ? [] : seededHead(model)];
  const weights = start.map(([tensor, { shape, data }]): [string, Weight] => {
    const moved = uniform(5, streamOf(`${name} ${tensor}`), data.length, 0.1);
    return [tensor, { shape, data: data.map((value, i) => value + moved[i]) }];
  });
  return { adapter, weights: new Map(weights) };
}
