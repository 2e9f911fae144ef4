/**
 * Multi-head attention with 12 heads of 64, without padding: forward, and the gradients of the sum of its
 * squares.
 */

import type { Gpu } from "../../lib/gpu/device.ts";
import { grad } from "../../lib/graph/grad.ts";
import { attention as ourAttention } from "../../lib/graph/ops/attention.ts";
import { sumOfSquares } from "../../lib/graph/ops/sum_of_squares.ts";
import { dopplerRunner } from "../libraries/doppler.ts";
import { jax, type JaxArray, jaxRunner } from "../libraries/jax.ts";
import { type OnnxGraph, onnxRunner } from "../libraries/onnx.ts";
import { ourRunner } from "../libraries/ours.ts";
import { torchRunner, torchWays } from "../libraries/pytorch.ts";
import { tf, tfjsRunner, tfjsWays } from "../libraries/tfjs.ts";
import { forwardOnly } from "../peers.ts";
import { type Group, type Input, randomInput, type Work } from "../work.ts";

const [heads, headWidth] = [12, 64];
const width = heads * headWidth;
const scale = headWidth ** -0.5;

/** softmax(q kᵀ/√d) v in tfjs; all tensors [texts·length, width]. */
export function tfjsAttention(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  texts: number,
  heads: number,
): tf.Tensor {
  const [tokens, width] = q.shape as [number, number];
  const split = (x: tf.Tensor) =>
    tf.transpose(tf.reshape(x, [texts, tokens / texts, heads, width / heads]), [0, 2, 1, 3]);
  const scores = tf.mul(tf.matMul(split(q), split(k), false, true), (width / heads) ** -0.5);
  const mixed = tf.matMul(tf.softmax(scores), split(v));
  return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [tokens, width]);
}

/** The same in jax-js; consumes its arguments. */
export function jaxAttention(
  q: JaxArray,
  k: JaxArray,
  v: JaxArray,
  texts: number,
  heads: number,
): JaxArray {
  const [tokens, width] = q.shape;
  const split = (x: JaxArray) => x.reshape([texts, tokens / texts, heads, width / heads]);
  return jax.nn.dotProductAttention(split(q), split(k), split(v)).reshape([tokens, width]);
}

/** The same in ONNX, with the runtime's own fused operator. */
export function onnxAttention(
  graph: OnnxGraph,
  [q, k, v]: readonly string[],
  [texts, length, width]: readonly number[],
  heads: number,
): string {
  const reshape = (x: string, name: string, shape: readonly number[]) =>
    graph.add("Reshape", [x, graph.integers(`${name} shape`, shape)]);
  const apart = [q, k, v].map((x) => reshape(x, x, [texts, length, width]));
  const mixed = graph.add("MultiHeadAttention", apart, { num_heads: { int: heads } }, "com.microsoft");
  return reshape(mixed, mixed, [texts * length, width]);
}

/** Reorders rows of `width` from text by text to token by token; with the extents swapped, back again. */
function byToken(
  data: Float32Array,
  texts: number,
  length: number,
  width: number,
): Float32Array<ArrayBuffer> {
  const result = new Float32Array(data.length);
  for (let text = 0; text < texts; text++) {
    for (let token = 0; token < length; token++) {
      const from = (text * length + token) * width;
      result.set(data.subarray(from, from + width), (token * texts + text) * width);
    }
  }
  return result;
}

/** In doppler, which has no batches: the heads of all texts become the heads of one text. */
function dopplerWay(
  inputs: Readonly<Record<string, Input>>,
  texts: number,
  length: number,
  training: boolean,
) {
  const asOneText = Object.fromEntries(
    Object.entries(inputs).map(([name, { data }]) => [
      name,
      { shape: [length, texts * width], data: byToken(data, texts, length, width) },
    ]),
  );
  const shape = { seqLen: length, kvLen: length, scale, causal: false };
  const numHeads = texts * heads;
  return dopplerRunner(
    asOneText,
    async ({ q, k, v }, doppler) => {
      if (!training) {
        return [
          await doppler.runAttention(q, k, v, null, numHeads, headWidth, { ...shape, numKVHeads: numHeads }),
        ];
      }
      const tape = doppler.newTape();
      const { output, softmax } = await doppler.recordAttentionForward(q, k, v, null, tape, {
        ...shape,
        numHeads,
        headDim: headWidth,
      });
      const seed = await doppler.runScale(output, 2, { inplace: false });
      const gradients = await tape.backward(seed);
      doppler.release(output, softmax, seed);
      return [q, k, v].map((x) => gradients.get(x)!);
    },
    (values) => values.map((value) => byToken(value, length, texts, width)),
  );
}

function attend(gpu: Gpu, texts: number, length: number, training: boolean): Work {
  const tokens = texts * length;
  const names = ["q", "k", "v"];
  const inputs = Object.fromEntries(names.map((name) => [name, randomInput(name, [tokens, width])]));
  return {
    name: `${texts} texts of ${length}${training ? ", with gradients" : ""}`,
    flops: (training ? 12 : 4) * texts * length * length * width,
    bytes: (training ? 28 : 16) * tokens * width,
    ways: {
      "this library": () =>
        ourRunner(
          gpu,
          inputs,
          ({ q, k, v, lengths }) => {
            const y = ourAttention(q, k, v, lengths, { heads, scale });
            return training ? grad([sumOfSquares(y, 1)], [q, k, v]) : [y];
          },
          { integers: { lengths: Uint32Array.from({ length: texts }, () => length) }, trainable: names },
        ),
      ...tfjsWays((backend) =>
        tfjsRunner(backend, inputs, ({ q, k, v }) => {
          const forward = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => tfjsAttention(q, k, v, texts, heads);
          if (!training) return [forward(q, k, v)];
          return tf.grads((q, k, v) => tf.sum(tf.square(forward(q, k, v))))([q, k, v]);
        })
      ),
      "jax-js": () =>
        jaxRunner(inputs, ({ q, k, v }) => {
          if (!training) return [jaxAttention(q, k, v, texts, heads)];
          const loss = ([q, k, v]: JaxArray[]) => {
            const y = jaxAttention(q, k, v, texts, heads);
            return y.ref.mul(y).sum();
          };
          return jax.grad(loss)([q, k, v]);
        }),
      "doppler-gpu": () => dopplerWay(inputs, texts, length, training),
      ...(training ? {} : {
        "onnxruntime-node": () =>
          onnxRunner(
            inputs,
            (graph) => [onnxAttention(graph, names, [texts, length, width], heads)],
          ),
      }),
      ...torchWays((device) =>
        torchRunner(device, training ? "attention_gradient" : "attention", inputs, { texts, heads })
      ),
    },
    ...(training ? { cannot: { "onnxruntime-node": forwardOnly } } : {}),
  };
}

export const attention: Group = {
  name: "attention",
  title: "Attention, 12 heads of 64",
  works: (gpu) =>
    [false, true].flatMap((training) =>
      ([[8, 128], [2, 512]] as const).map(([texts, length]) => attend(gpu, texts, length, training))
    ),
};
