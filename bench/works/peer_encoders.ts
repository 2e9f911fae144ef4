/** The encoder of `shaped_encoder.ts` with its head, and its LoRA adapters if there are any, in the peers. */

import type { Model, Weight } from "../../lib/models/model.ts";
import { jax, type JaxArray } from "../libraries/jax.ts";
import type { OnnxGraph } from "../libraries/onnx.ts";
import { tf } from "../libraries/tfjs.ts";
import { jaxAttention, onnxAttention, tfjsAttention } from "./attention.ts";
import { jaxLayerNorm, onnxLayerNorm, tfjsLayerNorm } from "./layer_norm.ts";
import type { ShapedEncoder } from "./shaped_encoder.ts";

/** The shape of a batch. All its texts have the same length. */
export interface BatchShape {
  readonly texts: number;
  readonly length: number;
}

/** s = α/r of the peers' LoRA: y = x Wᵀ + b + s·(x Aᵀ) Bᵀ. */
export const scale = 2;

/** The first `length` positions. */
export function positionsOf({ constants }: Model, length: number): Weight {
  const { shape: [, width], data } = constants.get("positions")!;
  return { shape: [length, width], data: data.slice(0, length * width) };
}

/** The layer at a path in tfjs, with its adapter if there is one. */
export function tfjsLinear(weights: ReadonlyMap<string, tf.Tensor>) {
  const w = (name: string) => weights.get(name)!;
  return (path: string, x: tf.Tensor): tf.Tensor => {
    const y = tf.add(tf.matMul(x, w(`${path}.weight`), false, true), w(`${path}.bias`));
    if (!weights.has(`${path}.A`)) return y;
    const u = tf.matMul(x, w(`${path}.A`), false, true);
    return tf.add(y, tf.mul(tf.matMul(u, w(`${path}.B`), false, true), scale));
  };
}

/** The same in jax-js; consumes x. */
export function jaxLinear(weights: Readonly<Record<string, JaxArray>>) {
  const np = jax.numpy;
  const w = (name: string) => weights[name].ref;
  return (path: string, x: JaxArray): JaxArray => {
    const y = np.matmul(x.ref, w(`${path}.weight`).transpose()).add(w(`${path}.bias`));
    if (!(`${path}.A` in weights)) {
      x.dispose();
      return y;
    }
    return y.add(np.matmul(np.matmul(x, w(`${path}.A`).transpose()), w(`${path}.B`).transpose()).mul(scale));
  };
}

/** Class scores in tfjs, from the ids of all texts. */
export function tfjsScores(
  model: ShapedEncoder,
  weights: ReadonlyMap<string, tf.Tensor>,
  ids: tf.Tensor1D,
  { texts, length }: BatchShape,
): tf.Tensor {
  const w = (name: string) => weights.get(name)!;
  const linear = tfjsLinear(weights);
  const norm = (path: string, x: tf.Tensor) => tfjsLayerNorm(x, w(`${path}.weight`), w(`${path}.bias`));
  const gelu = (x: tf.Tensor) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
  const words = tf.reshape(tf.gather(w("embedding.weight"), ids), [texts, length, model.width]);
  const placed = tf.add(words, tf.slice(w("positions"), [0, 0], [length, model.width]));
  let x = norm("embedding.norm", tf.reshape(placed, [texts * length, model.width]));
  for (let i = 0; i < model.layers; i++) {
    const at = (name: string) => `layer.${i}.${name}`;
    const [q, k, v] = ["query", "key", "value"].map((name) => linear(at(name), x));
    const attended = linear(at("output"), tfjsAttention(q, k, v, texts, model.heads));
    const h = norm(at("attention.norm"), tf.add(attended, x));
    x = norm(at("ffn.norm"), tf.add(linear(at("ffn_out"), gelu(linear(at("ffn_in"), h))), h));
  }
  return linear("head", tf.mean(tf.reshape(x, [texts, length, model.width]), 1));
}

/**
 * The same in jax-js; consumes none of `weights`, which include `ids` and the first `length` positions as
 * `placed`.
 */
export function jaxScores(
  model: ShapedEncoder,
  weights: Readonly<Record<string, JaxArray>>,
  { texts, length }: BatchShape,
): JaxArray {
  const np = jax.numpy;
  const w = (name: string) => weights[name].ref;
  const linear = jaxLinear(weights);
  const norm = (path: string, x: JaxArray) => jaxLayerNorm(x, w(`${path}.weight`), w(`${path}.bias`));
  const words = np.take(w("embedding.weight"), w("ids"), 0).reshape([texts, length, model.width]);
  let x = norm("embedding.norm", words.add(w("placed")).reshape([texts * length, model.width]));
  for (let i = 0; i < model.layers; i++) {
    const at = (name: string) => `layer.${i}.${name}`;
    const [q, k, v] = ["query", "key", "value"].map((name) => linear(at(name), x.ref));
    const attended = linear(at("output"), jaxAttention(q, k, v, texts, model.heads));
    const h = norm(at("attention.norm"), attended.add(x));
    const inner = jax.nn.gelu(linear(at("ffn_in"), h.ref), { approximate: false });
    x = norm(at("ffn.norm"), linear(at("ffn_out"), inner).add(h));
  }
  return linear("head", np.mean(x.reshape([texts, length, model.width]), 1));
}

/** The same in ONNX, with weights and ids as constants and without adapters. */
export function onnxScores(
  graph: OnnxGraph,
  model: ShapedEncoder,
  weights: ReadonlyMap<string, Weight>,
  ids: readonly number[],
  { texts, length }: BatchShape,
): string {
  const { width } = model;
  const w = (name: string) => graph.constant(name, weights.get(name)!);
  const linear = (path: string, x: string) =>
    graph.add("Gemm", [x, w(`${path}.weight`), w(`${path}.bias`)], { transB: { int: 1 } });
  const norm = (path: string, x: string) => onnxLayerNorm(graph, x, w(`${path}.weight`), w(`${path}.bias`));
  const words = graph.add("Gather", [
    w("embedding.weight"),
    graph.integers("ids", ids, [texts, length]),
  ]);
  const placed = graph.add("Add", [words, graph.constant("positions", positionsOf(model, length))]);
  const rows = graph.integers("rows", [texts * length, width]);
  let x = norm("embedding.norm", graph.add("Reshape", [placed, rows]));
  for (let i = 0; i < model.layers; i++) {
    const at = (name: string) => `layer.${i}.${name}`;
    const projected = ["query", "key", "value"].map((name) => linear(at(name), x));
    const mixed = onnxAttention(graph, projected, [texts, length, width], model.heads);
    const h = norm(at("attention.norm"), graph.add("Add", [linear(at("output"), mixed), x]));
    const inner = graph.add("Gelu", [linear(at("ffn_in"), h)]);
    x = norm(at("ffn.norm"), graph.add("Add", [linear(at("ffn_out"), inner), h]));
  }
  const byText = graph.add("Reshape", [x, graph.integers("texts", [texts, length, width])]);
  const axis = graph.integers("axis", [1]);
  return linear("head", graph.add("ReduceMean", [byText, axis], { keepdims: { int: 0 } }));
}
