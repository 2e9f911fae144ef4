/**
 * Writes a LoRA as the GGUF file that llama.cpp applies to a decoder (convert_lora_to_gguf.py and src/llama-adapter.cpp there):
 *
 *     general.type "adapter", general.architecture the base's, adapter.type "lora", adapter.lora.alpha α, f32
 *     NAME.lora_a [r, n] and NAME.lora_b [m, r], F32, for the base's tensor NAME;  y = W x + α/r · B A x
 *
 * r is each pair's own, and α is one for all. Rows of B lie as the base's rows do: of queries and keys in another order where the
 * architecture's are.
 */

import type { Adapter } from "../adapters/attach.ts";
import type { LowRankOptions } from "../adapters/method.ts";
import { isFolder } from "../files.ts";
import { readDecoderConfig } from "../models/decoder_config.ts";
import {
  type GgufLayout,
  ggufName,
  inFileOrder,
  layoutFor,
  layoutOf,
} from "../models/gguf/hugging_face_places.ts";
import type { GgufValue } from "../models/gguf/metadata.ts";
import { readGguf } from "../models/gguf/split_set.ts";
import { type GgufTensor, writeGguf } from "../models/gguf/writer.ts";
import { locateModel } from "../models/locate_model.ts";
import type { Model } from "../models/model.ts";
import type { LoraExport } from "./to_lora.ts";

/**
 * Throws an Error when llama.cpp has no place for an adapter: the model is no decoder, or base modules are trained whole beside it.
 */
export function checkGgufLora(model: Model, { trainedBase, method }: Adapter): void {
  if (!model.language) {
    throw new Error(
      `${model.name} is no decoder, and llama.cpp applies LoRAs to decoders: export it for PEFT`,
    );
  }
  const [trained] = trainedBase;
  if (trained === undefined || method.trainsBase) return;
  throw new Error(
    `the adapter holds "${trained}" whole, which a LoRA in GGUF has no place for: merge it, or export it for PEFT`,
  );
}

/**
 * Writes `lora`, which `toLora` made for the decoder `model` that was loaded from `source`, to `path`. Throws as `checkGgufLora` does.
 */
export async function saveLoraGguf(
  path: string,
  source: string,
  model: Model,
  lora: LoraExport,
): Promise<void> {
  checkGgufLora(model, lora.adapter);
  const layout = await layoutAt((await locateModel(source)).path);
  const metadata = new Map<string, GgufValue>([
    ["general.type", { type: "string", value: "adapter" }],
    ["general.architecture", { type: "string", value: layout.architecture }],
    ["general.name", { type: "string", value: `LoRA for ${model.name}` }],
    ["adapter.type", { type: "string", value: "lora" }],
    ["adapter.lora.alpha", { type: "float32", value: lora.rank }],
  ]);
  await writeGguf(path, metadata, tensorsOf(layout, lora));
}

/** The layout of a GGUF file, or the one that llama.cpp would give a folder of transformers. */
async function layoutAt(path: string): Promise<GgufLayout> {
  return await isFolder(path)
    ? layoutFor(await readDecoderConfig(path))
    : layoutOf((await readGguf(path)).metadata);
}

function tensorsOf(layout: GgufLayout, { adapter, weights, rank: alpha }: LoraExport): GgufTensor[] {
  return adapter.modules.flatMap(({ module: { path, m, n }, options }) => {
    const gguf = ggufName(`${path}.weight`)!;
    const { r } = options as LowRankOptions;
    const [A, B] = ["A", "B"].map((name) => weights.get(`${path}.${name}`)!.data);
    // A narrow layer's own rank makes another scale of the common α.
    const scaled = r === alpha ? B : B.map((value) => value * r / alpha);
    return [
      tensorOf(`${gguf}.lora_a`, [r, n], A),
      tensorOf(`${gguf}.lora_b`, [m, r], inFileOrder(layout, gguf, scaled, m)),
    ];
  });
}

function tensorOf(name: string, shape: readonly number[], values: Float32Array<ArrayBuffer>): GgufTensor {
  const { buffer, byteOffset, byteLength } = values;
  return { name, dtype: "F32", shape, pieces: () => [new Uint8Array(buffer, byteOffset, byteLength)] };
}
