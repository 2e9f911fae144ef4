/** The decoder of `shaped_decoder.ts` with its head, and its LoRA adapters if there are any, in the peers. */

import { jax, type JaxArray } from "../libraries/jax.ts";
import { tf } from "../libraries/tfjs.ts";
import { type BatchShape, scale } from "./peer_encoders.ts";
import { rmsEpsilon, type ShapedDecoder } from "./shaped_decoder.ts";

/** γ x / √(mean x² + ε) in tfjs. */
function tfjsRmsNorm(x: tf.Tensor, gamma: tf.Tensor): tf.Tensor {
  const squares = tf.mean(tf.square(x), -1, true);
  return tf.mul(tf.mul(x, tf.rsqrt(tf.add(squares, rmsEpsilon))), gamma);
}

/** Applies rotary positions to rows [texts·length, heads·headDim]; returns [texts, heads, length, headDim]. */
function tfjsRotary(x: tf.Tensor, table: tf.Tensor, { texts, length }: BatchShape): tf.Tensor {
  const headDim = table.shape[1]!;
  const half = headDim / 2;
  const [cosine, sine] = [0, half].map((from) => tf.slice(table, [0, from], [length, half]));
  const apart = tf.transpose(
    tf.reshape(x, [texts, length, x.shape[1]! / headDim, headDim]),
    [0, 2, 1, 3],
  );
  const [first, second] = tf.split(apart, 2, 3);
  return tf.concat([
    tf.sub(tf.mul(first, cosine), tf.mul(second, sine)),
    tf.add(tf.mul(second, cosine), tf.mul(first, sine)),
  ], 3);
}

/** Causal attention. The query heads that share a key head are stacked as rows. */
function tfjsCausalAttention(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  { heads, kvHeads, width }: ShapedDecoder,
  { texts, length }: BatchShape,
): tf.Tensor {
  const headDim = width / heads;
  const rows = [texts, kvHeads, heads / kvHeads * length];
  const values = tf.transpose(tf.reshape(v, [texts, length, kvHeads, headDim]), [0, 2, 1, 3]);
  const products = tf.mul(tf.matMul(tf.reshape(q, [...rows, headDim]), k, false, true), headDim ** -0.5);
  const scores = tf.reshape(products, [texts, heads, length, length]);
  // Masks later positions with a large negative number.
  const ahead = tf.mul(tf.sub(1, tf.linalg.bandPart(tf.ones([length, length]), -1, 0)), -1e9);
  const weights = tf.reshape(tf.softmax(tf.add(scores, ahead)), [...rows, length]);
  const mixed = tf.reshape(tf.matMul(weights, values), [texts, heads, length, headDim]);
  return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [texts * length, width]);
}

/** Class scores in tfjs, from the ids of all texts. */
export function tfjsDecoderScores(
  model: ShapedDecoder,
  weights: ReadonlyMap<string, tf.Tensor>,
  ids: tf.Tensor1D,
  batch: BatchShape,
): tf.Tensor {
  const w = (name: string) => weights.get(name)!;
  const linear = (path: string, x: tf.Tensor) => {
    const y = tf.matMul(x, w(`${path}.weight`), false, true);
    if (!weights.has(`${path}.A`)) return y;
    const u = tf.matMul(x, w(`${path}.A`), false, true);
    return tf.add(y, tf.mul(tf.matMul(u, w(`${path}.B`), false, true), scale));
  };
  let x: tf.Tensor = tf.gather(w("embedding.weight"), ids);
  for (let i = 0; i < model.layers; i++) {
    const at = (name: string) => `layer.${i}.${name}`;
    const normal = tfjsRmsNorm(x, w(at("attention.norm.weight")));
    const [q, k] = ["query", "key"].map((name) => tfjsRotary(linear(at(name), normal), w("rotary"), batch));
    const mixed = tfjsCausalAttention(q, k, linear(at("value"), normal), model, batch);
    const h = tf.add(linear(at("output"), mixed), x);
    const inside = tfjsRmsNorm(h, w(at("ffn.norm.weight")));
    const gate = linear(at("gate"), inside);
    const gated = tf.mul(tf.mul(gate, tf.sigmoid(gate)), linear(at("up"), inside));
    x = tf.add(linear(at("down"), gated), h);
  }
  const last = tf.reshape(tfjsRmsNorm(x, w("norm.weight")), [batch.texts, batch.length, model.width]);
  return tf.add(linear("head", tf.mean(last, 1)), w("head.bias"));
}

/** The same norm in jax-js; consumes its arguments. */
function jaxRmsNorm(x: JaxArray, gamma: JaxArray): JaxArray {
  const np = jax.numpy;
  const squares = np.mean(x.ref.mul(x.ref), -1, { keepdims: true });
  return x.div(np.sqrt(squares.add(rmsEpsilon))).mul(gamma);
}

/** Applies rotary positions to rows; returns [texts, length, heads, headDim]. Consumes its arguments. */
function jaxRotary(x: JaxArray, table: JaxArray, { texts, length }: BatchShape): JaxArray {
  const np = jax.numpy;
  const headDim = table.shape[1];
  const [cosine, sine] = np.split(table.reshape([1, length, 1, headDim]), 2, -1);
  const apart = x.reshape([texts, length, x.shape[1] / headDim, headDim]);
  const [first, second] = np.split(apart, 2, -1);
  return np.concatenate([
    first.ref.mul(cosine.ref).sub(second.ref.mul(sine.ref)),
    second.mul(cosine).add(first.mul(sine)),
  ], -1);
}

/** The same scores in jax-js; consumes none of `weights`, which include `ids` and the table of `rotary`. */
export function jaxDecoderScores(
  model: ShapedDecoder,
  weights: Readonly<Record<string, JaxArray>>,
  batch: BatchShape,
): JaxArray {
  const np = jax.numpy;
  const { kvHeads, width, heads } = model;
  const { texts, length } = batch;
  const w = (name: string) => weights[name].ref;
  const linear = (path: string, x: JaxArray) => {
    const y = np.matmul(x.ref, w(`${path}.weight`).transpose());
    if (!(`${path}.A` in weights)) {
      x.dispose();
      return y;
    }
    return y.add(np.matmul(np.matmul(x, w(`${path}.A`).transpose()), w(`${path}.B`).transpose()).mul(scale));
  };
  let x = np.take(w("embedding.weight"), w("ids"), 0);
  for (let i = 0; i < model.layers; i++) {
    const at = (name: string) => `layer.${i}.${name}`;
    const normal = jaxRmsNorm(x.ref, w(at("attention.norm.weight")));
    const [q, k] = ["query", "key"].map((name) =>
      jaxRotary(linear(at(name), normal.ref), w("rotary"), batch)
    );
    const v = linear(at("value"), normal).reshape([texts, length, kvHeads, width / heads]);
    const mixed = jax.nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([texts * length, width]);
    const h = linear(at("output"), mixed).add(x);
    const inside = jaxRmsNorm(h.ref, w(at("ffn.norm.weight")));
    const gated = jax.nn.silu(linear(at("gate"), inside.ref)).mul(linear(at("up"), inside));
    x = linear(at("down"), gated).add(h);
  }
  const last = jaxRmsNorm(x, w("norm.weight")).reshape([texts, length, width]);
  return linear("head", np.mean(last, 1)).add(w("head.bias"));
}
