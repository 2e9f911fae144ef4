/**
 * A LoRA training step on layers of RoBERTa-base's shape: forward, backward and AdamW, each library with its own autograd. 8 texts
 * of 64 tokens; r = 8 on query and value; post-LN layers, mean pooling, a linear head.
 */

import { attach, type AttachOptions } from "../../lib/adapters/attach.ts";
import type { Method } from "../../lib/adapters/method.ts";
import { methodByName } from "../../lib/adapters/registry.ts";
import { startingWeights } from "../../lib/adapters/starting_weights.ts";
import { initialise } from "../../lib/adapters/initialise.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import type { Weight } from "../../lib/models/model.ts";
import type { Encoded } from "../../lib/train/batches.ts";
import { adamWDefaults } from "../../lib/train/adamw.ts";
import { headParameters, type HeadShape } from "../../lib/train/step.ts";
import { Trainer } from "../../lib/train/trainer.ts";
import { jax, type JaxArray, openJax } from "../libraries/jax.ts";
import { openTfjs, tf } from "../libraries/tfjs.ts";
import type { Group, Runner, Work } from "../work.ts";
import { jaxAttention, tfjsAttention } from "./attention.ts";
import { jaxCrossEntropy, oneHot, tfjsCrossEntropy } from "./cross_entropy.ts";
import { jaxLayerNorm, tfjsLayerNorm } from "./layer_norm.ts";
import { type ShapedEncoder, shapedEncoder } from "./shaped_encoder.ts";

export const [texts, length, vocabulary, classes] = [8, 64, 1000, 4];
const tokens = texts * length;
export const head: HeadShape = { shape: "single", objective: "classification", texts: 1, outputs: classes };
/** More steps than a race runs. */
const steps = 400;
const learningRate = 1e-3;
const { beta1, beta2, epsilon } = adamWDefaults;
/** Steps whose losses are compared. */
const compared = 3;

export const examples: readonly Encoded[] = Array.from({ length: texts }, (_, i) => ({
  label: i % classes,
  texts: [Array.from({ length }, (_, j) => (i * 131 + j * 17) % vocabulary)],
}));

/** s = α/r of the peers' LoRA: y = x Wᵀ + b + s·(x Aᵀ) Bᵀ. */
const scale = 2;
const adaptedNames = ["query", "value"];

/** The losses that the libraries are compared by. */
async function firstLosses(next: () => Promise<number>): Promise<Float32Array[]> {
  const losses = [];
  for (let i = 0; i < compared; i++) losses.push(await next());
  return [Float32Array.from(losses)];
}

function ourStep(gpu: Gpu, model: ShapedEncoder, method: Method, options: object): () => Promise<Runner> {
  return () => {
    const adapter = attach(model, method, { ...options, target: adaptedNames } as AttachOptions);
    const trainer = new Trainer(gpu, model, adapter, head, examples, {
      learningRate,
      epochs: steps,
      batchSize: texts,
      warmupRatio: 0,
      seed: 0,
      maxNorm: 0,
    });
    let epoch = 0;
    return Promise.resolve({
      results: () => firstLosses(async () => (await trainer.epoch(epoch++))[0].loss),
      async lap(times) {
        for (let i = 0; i < times; i++) await trainer.epoch(epoch++);
      },
      dispose: () => trainer[Symbol.dispose](),
    });
  };
}

/** The trainable tensors at their start, as this library draws them. */
function trainableOf(model: ShapedEncoder): Map<string, Weight> {
  const adapter = attach(
    model,
    methodByName("LoRA"),
    { r: 8, alpha: 16, target: adaptedNames } as AttachOptions,
  );
  const own = [...headParameters(model, head)].map(
    ([name, spec]): [string, Weight] => [name, initialise(name, spec, 0)],
  );
  return new Map([...own, ...startingWeights(model, adapter, 0)]);
}

/** The learning rate and Adam's corrections of a step. */
function schedule(step: number): [rate: number, c1: number, c2: number] {
  return [learningRate * (steps - step) / steps, 1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1)];
}

const hot = oneHot(examples.map(({ label }) => label), classes);
const ids = Int32Array.from(examples.flatMap(({ texts: [text] }) => [...text]));

function tfjsStep(model: ShapedEncoder): () => Promise<Runner> {
  return async () => {
    await openTfjs();
    const toTensor = ({ data, shape }: Weight) => tf.tensor(data, [...shape]);
    const frozen = new Map([...model.weights, ...model.constants].map(([name, w]) => [name, toTensor(w)]));
    const variables = new Map(
      [...trainableOf(model)].map(([name, w]) => [name, tf.variable(toTensor(w), true, name)]),
    );
    const moments = new Map(
      [...variables].map(([name, v]) => [name, [0, 1].map(() => tf.variable(tf.zerosLike(v)))]),
    );
    const [tokenIds, labels] = [tf.tensor1d(ids, "int32"), toTensor(hot)];
    const w = (name: string) => variables.get(name) ?? frozen.get(name)!;
    const linear = (path: string, x: tf.Tensor) => {
      const y = tf.add(tf.matMul(x, w(`${path}.weight`), false, true), w(`${path}.bias`));
      if (!variables.has(`${path}.A`)) return y;
      const u = tf.matMul(x, w(`${path}.A`), false, true);
      return tf.add(y, tf.mul(tf.matMul(u, w(`${path}.B`), false, true), scale));
    };
    const norm = (path: string, x: tf.Tensor) => tfjsLayerNorm(x, w(`${path}.weight`), w(`${path}.bias`));
    const gelu = (x: tf.Tensor) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
    const forward = (): tf.Scalar => {
      const words = tf.reshape(tf.gather(w("embedding.weight"), tokenIds), [texts, length, model.width]);
      const placed = tf.add(words, tf.slice(w("positions"), [0, 0], [length, model.width]));
      let x = norm("embedding.norm", tf.reshape(placed, [tokens, model.width]));
      for (let i = 0; i < model.layers; i++) {
        const at = (name: string) => `layer.${i}.${name}`;
        const [q, k, v] = ["query", "key", "value"].map((name) => linear(at(name), x));
        const attended = linear(at("output"), tfjsAttention(q, k, v, texts, model.heads));
        const h = norm(at("attention.norm"), tf.add(attended, x));
        x = norm(at("ffn.norm"), tf.add(linear(at("ffn_out"), gelu(linear(at("ffn_in"), h))), h));
      }
      const pooled = tf.mean(tf.reshape(x, [texts, length, model.width]), 1);
      return tfjsCrossEntropy(linear("head", pooled), labels);
    };
    let step = 0;
    const once = (): tf.Scalar =>
      tf.tidy(() => {
        const { value, grads } = tf.variableGrads(forward, [...variables.values()]);
        const [rate, c1, c2] = schedule(step++);
        for (const [name, variable] of variables) {
          const [m, v] = moments.get(name)!;
          const g = grads[name];
          m.assign(tf.add(tf.mul(m, beta1), tf.mul(g, 1 - beta1)));
          v.assign(tf.add(tf.mul(v, beta2), tf.mul(tf.square(g), 1 - beta2)));
          const change = tf.div(tf.div(m, c1), tf.add(tf.sqrt(tf.div(v, c2)), epsilon));
          variable.assign(tf.sub(variable, tf.mul(change, rate)));
        }
        return value;
      });
    return {
      results: () => firstLosses(async () => (await once().data())[0]),
      async lap(times) {
        for (let i = 1; i < times; i++) once().dispose();
        await once().data();
      },
      dispose: () =>
        tf.dispose([...variables.values(), ...frozen.values(), ...moments.values(), tokenIds, labels].flat()),
    };
  };
}

type Arrays = Record<string, JaxArray>;

/** The loss in jax-js; consumes none of `w`. */
function jaxLoss(model: ShapedEncoder, trainable: Arrays, frozen: Arrays): JaxArray {
  const np = jax.numpy;
  const w = (name: string) => (trainable[name] ?? frozen[name]).ref;
  const linear = (path: string, x: JaxArray) => {
    const y = np.matmul(x.ref, w(`${path}.weight`).transpose()).add(w(`${path}.bias`));
    if (!(`${path}.A` in trainable)) {
      x.dispose();
      return y;
    }
    return y.add(np.matmul(np.matmul(x, w(`${path}.A`).transpose()), w(`${path}.B`).transpose()).mul(scale));
  };
  const norm = (path: string, x: JaxArray) => jaxLayerNorm(x, w(`${path}.weight`), w(`${path}.bias`));
  const words = np.take(w("embedding.weight"), w("ids"), 0).reshape([texts, length, model.width]);
  let x = norm("embedding.norm", words.add(w("placed")).reshape([tokens, model.width]));
  for (let i = 0; i < model.layers; i++) {
    const at = (name: string) => `layer.${i}.${name}`;
    const [q, k, v] = ["query", "key", "value"].map((name) => linear(at(name), x.ref));
    const attended = linear(at("output"), jaxAttention(q, k, v, texts, model.heads));
    const h = norm(at("attention.norm"), attended.add(x));
    const inner = jax.nn.gelu(linear(at("ffn_in"), h.ref), { approximate: false });
    x = norm(at("ffn.norm"), linear(at("ffn_out"), inner).add(h));
  }
  return jaxCrossEntropy(linear("head", np.mean(x.reshape([texts, length, model.width]), 1)), w("hot"));
}

function jaxStep(model: ShapedEncoder): () => Promise<Runner> {
  return async () => {
    await openJax();
    const np = jax.numpy;
    const toArray = ({ data, shape }: Weight) => np.array(data, { shape: [...shape] });
    const arraysOf = (weights: ReadonlyMap<string, Weight>): Arrays =>
      Object.fromEntries([...weights].map(([name, weight]) => [name, toArray(weight)]));
    const positions = model.constants.get("positions")!;
    const frozen: Arrays = {
      ...arraysOf(model.weights),
      placed: np.array(positions.data.slice(0, length * model.width), { shape: [length, model.width] }),
      hot: toArray(hot),
      ids: np.array(ids, { dtype: np.int32 }),
    };
    let trainable = arraysOf(trainableOf(model));
    const zeros = () =>
      Object.fromEntries(Object.entries(trainable).map(([name, a]) => [name, np.zerosLike(a.ref)]));
    let [m, v] = [zeros(), zeros()];
    const lossAndGradients = jax.jit((trainable: Arrays, frozen: Arrays) =>
      jax.valueAndGrad((own: Arrays) => jaxLoss(model, own, frozen))(trainable)
    );
    const update = jax.jit((w: JaxArray, g: JaxArray, m: JaxArray, v: JaxArray, numbers: JaxArray) => {
      const [rate, c1, c2] = [0, 1, 2].map((i) => numbers.ref.slice(i));
      const newM = m.mul(beta1).add(g.ref.mul(1 - beta1));
      const newV = v.mul(beta2).add(g.ref.mul(g).mul(1 - beta2));
      const change = newM.ref.div(c1).div(np.sqrt(newV.ref.div(c2)).add(epsilon));
      return [w.sub(change.mul(rate)), newM, newV];
    });
    let step = 0;
    const refs = (arrays: Arrays) =>
      Object.fromEntries(Object.entries(arrays).map(([name, a]) => [name, a.ref]));
    const once = (): JaxArray => {
      const [loss, gradients] = lossAndGradients(refs(trainable), refs(frozen));
      const numbers = np.array(schedule(step++));
      const next = Object.keys(trainable).map((name) =>
        [name, update(trainable[name], gradients[name], m[name], v[name], numbers.ref)] as const
      );
      [trainable, m, v] = [0, 1, 2].map((part) =>
        Object.fromEntries(next.map(([name, all]) => [name, all[part]]))
      );
      numbers.dispose();
      return loss;
    };
    const dispose = () =>
      [trainable, m, v, frozen].forEach((all) => Object.values(all).forEach((a) => a.dispose()));
    return {
      results: () => firstLosses(async () => (await once().data())[0]),
      async lap(times) {
        for (let i = 1; i < times; i++) once().dispose();
        await once().data();
        await jax.blockUntilReady(Object.values(trainable));
      },
      dispose,
    };
  };
}

/** A training step of `method` on the layers of `model`; of LoRA in every library. */
export function step(gpu: Gpu, model: ShapedEncoder, label: string, method: string, options: object): Work {
  const adapter = attach(model, methodByName(method), { ...options, target: adaptedNames } as AttachOptions);
  const costs = adapter.modules.map(({ module, options }) => adapter.method.cost(module, options));
  const perToken = costs.reduce((sum, { forward, backward }) => sum + forward + backward, 0);
  // Nothing is trained below the first layer's query, key and value, so their inputs need no gradient, nor do their
  // adapters' (n·r each).
  const unneeded = 3 * model.width ** 2 + 2 * model.width * 8;
  const attention = 3 * 2 * length * model.width * model.layers;
  return {
    name: `${label}, ${model.layers} layer${model.layers > 1 ? "s" : ""}`,
    flops: 2 * tokens * (2 * model.multiplyAddsPerToken + perToken + attention - unneeded),
    bytes: 4 * model.multiplyAddsPerToken,
    ways: {
      "this library": ourStep(gpu, model, methodByName(method), options),
      ...(method === "LoRA" ? { "tfjs-webgpu": tfjsStep(model), "jax-js": jaxStep(model) } : {}),
    },
  };
}

export const loraStep: Group = {
  name: "steps",
  title: "A training step on layers of RoBERTa-base's shape, 8 texts of 64 tokens",
  works: (gpu) => {
    const model = shapedEncoder(1, vocabulary, length);
    const bora = { r: 8, alpha: 16 };
    return [
      step(gpu, model, "LoRA r 8", "LoRA", { r: 8, alpha: 16 }),
      step(gpu, model, "BoRA r 8 b 16", "BoRA", { ...bora, blocks: 16 }),
      step(gpu, model, 'BoRA r 8 b "auto" (24)', "BoRA", { ...bora, blocks: "auto" }),
    ];
  },
};
