/**
 * The programs of the golden: training steps and predictions that together hold every model family, method, fusion and
 * storage, as the kernels that a device class gets (text, grid, parameters, bindings) and as the bits that come out.
 */

import { attach, type AttachOptions } from "../../lib/adapters/attach.ts";
import { methods } from "../../lib/adapters/registry.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import type { DeviceTraits } from "../../lib/gpu/kernel.ts";
import { compile } from "../../lib/graph/compile.ts";
import { grad, layerOfPath } from "../../lib/graph/grad.ts";
import { bytesOf, type DType, Graph, type Node, reachable, type Tensor } from "../../lib/graph/graph.ts";
import { activate, activationGradient } from "../../lib/graph/ops/activation.ts";
import { matmul } from "../../lib/graph/ops/product/product.ts";
import { plan } from "../../lib/graph/plan.ts";
import { randomBits, streamOf, uniform } from "../../lib/graph/random.ts";
import type { WritablePacking } from "../../lib/graph/storages/registry.ts";
import { encoderConfigOf, withPooling } from "../../lib/models/hugging_face_config.ts";
import type { Model } from "../../lib/models/model.ts";
import { packModel } from "../../lib/models/packing.ts";
import { publishedEncoder } from "../../lib/models/published_configs.ts";
import { unloadedEncoder } from "../../lib/models/unloaded_encoder.ts";
import { withoutValues } from "../../lib/models/unread_weight.ts";
import { loadUseLite } from "../../lib/models/use_lite.ts";
import { classification } from "../../lib/objectives/classification.ts";
import { regression } from "../../lib/objectives/regression.ts";
import { traceStep } from "../../lib/run/step.ts";
import { tinyEncoder } from "../../tasks/conformance/tiny_encoder.ts";

/** A program of the golden. */
export interface GoldenProgram {
  readonly name: string;
  /** What it computes, from sources whose values depend on their names. */
  readonly outputs: readonly Tensor[];
  /** The device classes on which it is run for its bits. */
  readonly runs: readonly string[];
}

/** Layers of 64 and 128, in which every fusion of a layer has a place. */
const tiny = {
  vocab_size: 23,
  hidden_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 128,
  max_position_embeddings: 40,
  hidden_act: "gelu",
  layer_norm_eps: 1e-5,
  pad_token_id: 1,
};
const bertConfig = encoderConfigOf("tiny", { ...tiny, model_type: "bert", type_vocab_size: 2 });
const robertaConfig = encoderConfigOf("tiny", { ...tiny, model_type: "roberta", type_vocab_size: 1 });
const attention = ["query", "key", "value"];
const everyLayer = [...attention, "intermediate.dense", "output.dense"];

interface Step {
  readonly model: Model;
  readonly method: string;
  readonly target?: readonly string[];
  /** Options of the method; by default its r is 8, in 4 blocks of 16 columns. */
  readonly own?: Readonly<Record<string, number>>;
  readonly examples?: number;
  readonly length?: number;
  readonly training?: boolean;
  readonly recompute?: boolean;
  readonly pairs?: boolean;
  readonly outputs?: number;
  readonly storage?: (name: string) => DType;
}

/** The loss and every gradient of a training step, or the predictions. */
function outputsOf(step: Step): readonly Tensor[] {
  const { model, target = everyLayer, outputs = 3, training = true } = step;
  const method = methods.find(({ name }) => name === step.method)!;
  const given = Object.entries({ r: 8, alpha: 16, blocks: 4, dropout: 0, ...step.own })
    .filter(([name]) => name in method.defaults);
  const adapter = attach(model, method, { ...Object.fromEntries(given), target } as AttachOptions);
  const kind = outputs === 1 ? regression : classification;
  const objective = kind.of(model, { texts: step.pairs ? 2 : 1, classes: outputs });
  const size = { examples: step.examples ?? 3, length: step.length ?? 16, rows: 0 };
  const { graph, losses, loss, predictions } = traceStep(
    model,
    adapter,
    objective,
    size,
    training,
    step.storage,
  );
  if (!training) return [predictions];
  const targets = graph.nodes.filter(({ source }) => source === "trainable").map((node) => node.outputs[0]);
  return [loss, ...grad(losses, targets, step.recompute ? { recompute: layerOfPath } : {})];
}

/** As training on a software driver stores the model's weights. */
const inPanels = (model: Model) => (name: string): DType => {
  const layer = model.linears.find(({ path }) => name === `${path}.weight`);
  return layer && layer.n % 64 === 0 && !layer.perText ? "f32 in panels" : "f32";
};

type Weights = (name: string, ...shape: number[]) => Tensor;

function traced(trace: (weight: Weights) => Tensor): readonly Tensor[] {
  const graph = new Graph();
  return [trace((name, ...shape) => graph.weight(name, shape, false))];
}

/** Products in shapes that no small model has: those that do not fill a tile, and long sums. */
function productsAlone(): Map<string, readonly Tensor[]> {
  const found = new Map<string, readonly Tensor[]>();
  for (const [m, n, k] of [[1, 1, 1], [5, 3, 7], [67, 72, 20], [130, 8, 31], [36, 100, 12], [300, 260, 64]]) {
    for (const [transposeA, transposeB] of [[false, false], [false, true], [true, false]]) {
      found.set(
        `product ${transposeA ? "T" : "N"}${transposeB ? "T" : "N"} ${m}×${n}×${k}`,
        traced((weight) => {
          const a = transposeA ? weight("a", k, m) : weight("a", m, k);
          const b = transposeB ? weight("b", n, k) : weight("b", k, n);
          const epilogue = { bias: weight("bias", n), residual: weight("residual", m, n) };
          return matmul(a, b, { transposeA, transposeB, scale: 0.7, ...epilogue });
        }),
      );
    }
  }
  for (const [transposeA, n] of [[false, 36], [true, 36], [true, 8]] as const) {
    found.set(
      `long sum ${transposeA ? "T" : "N"}N 36×${n}×1100`,
      traced((weight) => {
        const a = transposeA ? weight("a", 1100, 36) : weight("a", 36, 1100);
        return matmul(a, weight("b", 1100, n), { transposeA });
      }),
    );
  }
  for (const [m, n, k] of [[41, 96, 20], [41, 12, 20], [5, 7, 3]]) {
    for (const name of ["relu", "tanh", "gelu"] as const) {
      found.set(
        `slope of ${name}, ${m}×${n}×${k}`,
        traced((weight) => {
          const product = matmul(weight("G", m, k), weight("W", k, n), { scale: 0.7 });
          return activationGradient(name, weight("at", m, n), product);
        }),
      );
    }
    found.set(
      `gelu alone, ${m}×${n}×${k}`,
      traced((weight) =>
        activate(
          "gelu",
          matmul(weight("x", m, k), weight("W", n, k), { transposeB: true, bias: weight("bias", n) }),
        )
      ),
    );
  }
  return found;
}

/** Steps small enough to be run. */
function smallSteps(useLite: Model): Map<string, Step> {
  const bert = unloadedEncoder("bert", bertConfig);
  const roberta = unloadedEncoder("roberta", robertaConfig);
  const pooled = unloadedEncoder("mean pooling", withPooling(bertConfig, "mean"));
  const packed = (model: Model, packing: WritablePacking) => packModel(model, packing);
  const everyUseLite = [...attention, "output", "ffn_in", "ffn_out"];
  return new Map<string, Step>([
    ...methods.map(({ name }): [string, Step] => [`method ${name}`, { model: bert, method: name }]),
    ["BERT, predictions", { model: bert, method: "BoRA", training: false }],
    ["BERT, pairs, recomputed, dropout", {
      model: bert,
      method: "LoRA",
      pairs: true,
      recompute: true,
      own: { dropout: 0.1 },
    }],
    ["BERT, regression", { model: bert, method: "LoRA", outputs: 1 }],
    ["RoBERTa, predictions", { model: roberta, method: "LoRA", training: false }],
    ["mean pooling, dropout", { model: pooled, method: "BoRA", own: { dropout: 0.1 } }],
    ["mean pooling, predictions", { model: pooled, method: "Head only", target: attention, training: false }],
    ["tiny encoder", {
      model: tinyEncoder(),
      method: "BoRA",
      own: { r: 2 },
      target: ["query", "value"],
      length: 8,
    }],
    ["USE-lite", { model: useLite, method: "BoRA", target: ["query", "value"] }],
    ["USE-lite in panels", {
      model: useLite,
      method: "BoRA",
      target: everyUseLite,
      storage: inPanels(useLite),
    }],
    ["USE-lite, pairs, predictions", {
      model: useLite,
      method: "LoRA",
      target: ["query", "value"],
      pairs: true,
      training: false,
    }],
    ...["LoRA", "BoRA", "DoRA"].map((method): [string, Step] => [
      `panels, ${method}`,
      { model: bert, method, storage: inPanels(bert) },
    ]),
    ["panels, predictions", { model: bert, method: "LoRA", storage: inPanels(bert), training: false }],
    ...(["f16", "int8", "int4"] as const).flatMap((packing): [string, Step][] => [
      [`${packing}, LoRA`, { model: packed(bert, packing), method: "LoRA" }],
      [`${packing}, BoRA, predictions`, { model: packed(bert, packing), method: "BoRA", training: false }],
      [`${packing}, USE-lite`, { model: packed(useLite, packing), method: "LoRA", target: everyUseLite }],
    ]),
  ]);
}

/** Steps of usual size, and of another rank, for their kernels. */
function furtherSteps(useLite: Model): Map<string, Step> {
  const config = { ...publishedEncoder("roberta-base")!, vocabulary: 100, layers: 1 };
  const base = unloadedEncoder("roberta-base", config);
  const target = ["query", "value"];
  const usual = { model: base, own: { blocks: 16 }, examples: 8, length: 128 };
  const small = unloadedEncoder("roberta", robertaConfig);
  return new Map<string, Step>([
    ...methods.filter(({ defaults }) => "r" in defaults).map(({ name }): [string, Step] => [
      `method ${name}, attention, r 4`,
      { model: small, method: name, own: { r: 4 }, target: attention },
    ]),
    ["RoBERTa-base layer, LoRA", { ...usual, method: "LoRA", target }],
    ["RoBERTa-base layer, BoRA", { ...usual, method: "BoRA", target: everyLayer }],
    ["RoBERTa-base layer, full", { ...usual, method: "Full fine-tuning", target }],
    ["RoBERTa-base layer in panels", { ...usual, method: "LoRA", target, storage: inPanels(base) }],
    ["USE-lite, 16×48, in panels", {
      ...usual,
      model: useLite,
      method: "BoRA",
      target,
      examples: 16,
      length: 48,
      storage: inPanels(useLite),
    }],
  ]);
}

/** Every program of the golden. The methods' own fusions are run with a software driver's kernels only, to save time. */
export async function goldenPrograms(): Promise<GoldenProgram[]> {
  const useLite = withoutValues(await loadUseLite());
  const both = ["software", "hardware"];
  const ofSteps = (steps: ReadonlyMap<string, Step>, runs: (name: string) => readonly string[]) =>
    [...steps].map(([name, step]) => ({ name, outputs: outputsOf(step), runs: runs(name) }));
  return [
    ...ofSteps(smallSteps(useLite), (name) => /^method |USE-lite/.test(name) ? ["software"] : both),
    ...[...productsAlone()].map(([name, outputs]) => ({ name, outputs, runs: both })),
    ...ofSteps(furtherSteps(useLite), () => []),
  ];
}

/** What a compiler sees of a kernel's text. */
function withoutComments(code: string): string {
  return code.replaceAll(/\/\/.*/g, "").split("\n").filter((line) => line.trim() !== "").join("\n");
}

/** The launches of a program on a device: each kernel's text, grid and parameters, and what is bound where. */
export function launchesOf(outputs: readonly Tensor[], device: DeviceTraits) {
  const { nodes, inPlace, slots } = plan(outputs, { device });
  const place = (tensor: Tensor) => slots.get(tensor) ?? tensor.node.name;
  return nodes.flatMap((node) =>
    node.op!.dispatches(node, inPlace.has(node), device).map(({ kernel, grid, params, bindings }) => ({
      module: node.name,
      code: withoutComments(kernel.code),
      grid,
      params,
      bindings: kernel.bindings.filter(({ type }) => type !== "uniform")
        .map(({ variable }) => [variable, place(bindings[variable])]),
    }))
  );
}

/** Words of a source that depend on its name, shape and type only. */
function wordsOf({ name, outputs: [tensor] }: Node, below: Readonly<Record<string, number>>) {
  const count = Math.ceil(bytesOf(tensor) / 4);
  if (tensor.dtype === "f32" || tensor.dtype === "f32 in panels") {
    return new Uint32Array(uniform(7, streamOf(name), count, 0.5).buffer);
  }
  const bits = Uint32Array.from({ length: count }, (_, i) => randomBits(7, 0, streamOf(name), i));
  // Finite halves below 2.
  if (tensor.dtype === "f16") return bits.map((word) => word & 0xbfff_bfff);
  if (tensor.dtype !== "u32") return bits;
  return bits.map((word) => word % (below[name] ?? 2) + (name === "lengths" ? 1 : 0));
}

/** SHA-256 of all outputs, computed on `gpu`. */
export async function bitsOf(gpu: Gpu, outputs: readonly Tensor[]): Promise<string> {
  const sources = reachable(outputs).filter(({ source }) => source);
  const lengthOf = sources.find(({ name }) => name === "ids")?.outputs[0].shape[1] ?? 1;
  const below = { ids: 11, lengths: lengthOf, labels: 3, places: 20, types: 1 };
  using owned = new DisposableStack();
  const views = new Map(sources.map(({ name, outputs: [tensor] }) => {
    const bytes = bytesOf(tensor);
    const buffer = owned.adopt(gpu.createBuffer(name, bytes), (own) => gpu.destroyBuffer(own));
    return [name, { buffer, offset: 0, bytes, inPanels: tensor.dtype === "f32 in panels" }];
  }));
  using compiled = await compile(gpu, outputs, { label: "golden", weights: (name) => views.get(name)! });
  for (const node of sources) {
    const { buffer } = compiled.inputs.get(node.name) ?? views.get(node.name)!;
    gpu.upload(buffer, wordsOf(node, below));
  }
  compiled.run();
  const parts: Float32Array<ArrayBuffer>[] = [];
  for (const tensor of outputs) {
    const values = await compiled.read(tensor);
    if (!values.every(Number.isFinite)) throw new Error(`${tensor.node.name} is not finite`);
    parts.push(values);
  }
  const all = await new Blob(parts).arrayBuffer();
  return new Uint8Array(await crypto.subtle.digest("SHA-256", all)).toHex();
}

/**
 * Whether fma(a, b, c) is rounded once, as by Mesa 26; Mesa 25 rounds the product as well. WGSL allows both.
 * The probe is (1 + ε)(1 + ε) − (1 + 2ε) at ε = 2⁻¹², which is ε² or, with the product rounded, 0.
 */
export async function roundsFmaOnce(gpu: Gpu): Promise<boolean> {
  const [epsilon, graph] = [2 ** -12, new Graph()];
  const [a, b] = [graph.input("a", [1, 2]), graph.input("b", [2, 1])];
  const sum = matmul(a, b);
  const weights = (name: string) => {
    throw new Error(`there is no ${name}`);
  };
  using compiled = await compile(gpu, [sum], { label: "fma", weights });
  gpu.upload(compiled.inputs.get("a")!.buffer, Float32Array.of(1 + 2 * epsilon, 1 + epsilon));
  gpu.upload(compiled.inputs.get("b")!.buffer, Float32Array.of(-1, 1 + epsilon));
  compiled.run();
  return (await compiled.read(sum))[0] !== 0;
}
