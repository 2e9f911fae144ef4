/** USE-lite as in `lib/models/use_lite.ts`, with its LoRA adapters and its head, in the peers. */

import { jax, type JaxArray } from "../libraries/jax.ts";
import { tf } from "../libraries/tfjs.ts";
import { jaxAttention, tfjsAttention } from "./attention.ts";
import { jaxLayerNorm, tfjsLayerNorm } from "./layer_norm.ts";
import { type BatchShape, jaxLinear, tfjsLinear } from "./peer_encoders.ts";

/** The model's sizes, for the peers. */
export const useLiteShape = { layers: 2, heads: 4, epsilon: 1e-6 } as const;
const { layers, heads, epsilon } = useLiteShape;

/** Class scores in tfjs, from the ids of all texts. */
export function tfjsUseLiteScores(
  weights: ReadonlyMap<string, tf.Tensor>,
  ids: tf.Tensor1D,
  { texts, length }: BatchShape,
): tf.Tensor {
  const w = (name: string) => weights.get(name)!;
  const linear = tfjsLinear(weights);
  const norm = (path: string, x: tf.Tensor) =>
    tfjsLayerNorm(x, w(`${path}.weight`), w(`${path}.bias`), epsilon);
  const words = tf.mul(tf.reshape(tf.gather(w("embedding.weight"), ids), [texts, length, -1]), 2);
  const placed = tf.add(words, tf.slice(w("positions"), [0, 0], [length, words.shape[2]!]));
  let x = tf.reshape(placed, [texts * length, -1]);
  for (let i = 0; i < layers; i++) {
    const at = (name: string) => `layer.${i}.${name}`;
    const normal = norm(at("attention.norm"), x);
    const [q, k, v] = ["query", "key", "value"].map((name) => linear(at(`attention.${name}`), normal));
    const mixed = linear(at("attention.output"), tfjsAttention(q, k, v, texts, heads));
    const h = tf.add(mixed, i === 0 ? linear(at("residual"), x) : x);
    const inner = tf.relu(linear(at("ffn.in"), norm(at("ffn.norm"), h)));
    x = tf.add(linear(at("ffn.out"), inner), h);
  }
  const pooled = tf.mean(tf.reshape(x, [texts, length, -1]), 1);
  return linear("head", tf.tanh(linear("pooler", pooled)));
}

/**
 * The same in jax-js; consumes none of `weights`, which include `ids` and the first `length` positions as
 * `placed`.
 */
export function jaxUseLiteScores(
  weights: Readonly<Record<string, JaxArray>>,
  { texts, length }: BatchShape,
): JaxArray {
  const np = jax.numpy;
  const w = (name: string) => weights[name].ref;
  const linear = jaxLinear(weights);
  const norm = (path: string, x: JaxArray) =>
    jaxLayerNorm(x, w(`${path}.weight`), w(`${path}.bias`), epsilon);
  const words = np.take(w("embedding.weight"), w("ids"), 0).reshape([texts, length, -1]).mul(2);
  let x = words.add(w("placed")).reshape([texts * length, -1]);
  for (let i = 0; i < layers; i++) {
    const at = (name: string) => `layer.${i}.${name}`;
    const normal = norm(at("attention.norm"), x.ref);
    const [q, k, v] = ["query", "key", "value"].map((name) => linear(at(`attention.${name}`), normal.ref));
    normal.dispose();
    const mixed = linear(at("attention.output"), jaxAttention(q, k, v, texts, heads));
    const h = mixed.add(i === 0 ? linear(at("residual"), x) : x);
    const inner = jax.nn.relu(linear(at("ffn.in"), norm(at("ffn.norm"), h.ref)));
    x = linear(at("ffn.out"), inner).add(h);
  }
  const pooled = np.mean(x.reshape([texts, length, -1]), 1);
  return linear("head", np.tanh(linear("pooler", pooled)));
}
