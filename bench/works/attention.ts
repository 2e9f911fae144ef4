/** Multi-head attention, forward: 12 heads of 64, whole texts. */

import { attention as ourAttention } from "../../lib/graph/ops/attention.ts";
import { jax, jaxRunner } from "../libraries/jax.ts";
import { ourRunner } from "../libraries/ours.ts";
import { tf, tfjsRunner } from "../libraries/tfjs.ts";
import { type Group, randomInput } from "../work.ts";

const [heads, headWidth] = [12, 64];
const width = heads * headWidth;

/** softmax(q kᵀ/√d) v in tfjs; all [texts·length, width]. */
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
  q: jax.numpy.Array,
  k: jax.numpy.Array,
  v: jax.numpy.Array,
  texts: number,
  heads: number,
): jax.numpy.Array {
  const [tokens, width] = q.shape;
  const split = (x: jax.numpy.Array) => x.reshape([texts, tokens / texts, heads, width / heads]);
  return jax.nn.dotProductAttention(split(q), split(k), split(v)).reshape([tokens, width]);
}

export const attention: Group = {
  name: "attention",
  title: "Attention, 12 heads of 64",
  works: (gpu) =>
    ([[8, 128], [2, 512]] as const).map(([texts, length]) => {
      const tokens = texts * length;
      const inputs = Object.fromEntries(
        ["q", "k", "v"].map((name) => [name, randomInput(name, [tokens, width])]),
      );
      return {
        name: `${texts} texts of ${length}`,
        flops: 4 * texts * length * length * width,
        bytes: 16 * tokens * width,
        ways: {
          "this library": () =>
            ourRunner(
              gpu,
              inputs,
              ({ q, k, v, lengths }) => [ourAttention(q, k, v, lengths, { heads, scale: headWidth ** -0.5 })],
              { integers: { lengths: Uint32Array.from({ length: texts }, () => length) } },
            ),
          "tfjs-webgpu": () => tfjsRunner(inputs, ({ q, k, v }) => [tfjsAttention(q, k, v, texts, heads)]),
          "jax-js": () => jaxRunner(inputs, ({ q, k, v }) => [jaxAttention(q, k, v, texts, heads)]),
        },
      };
    }),
};
