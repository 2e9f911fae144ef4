/**
 * A LoRA training step on USE-lite and on layers of RoBERTa-base's and LLaMA's shapes: forward, backward and
 * AdamW, each library with its own autograd. 8 texts of 64 tokens; r = 8 on the layers that `trainees.ts`
 * names; mean pooling and a linear head.
 */

import { attach, type AttachOptions } from "../../lib/adapters/attach.ts";
import { initialise } from "../../lib/adapters/initialise.ts";
import type { Method } from "../../lib/adapters/method.ts";
import { methodByName } from "../../lib/adapters/registry.ts";
import { startingWeights } from "../../lib/adapters/starting_weights.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import type { Weight } from "../../lib/models/model.ts";
import { adamWDefaults } from "../../lib/train/adamw.ts";
import { Trainer } from "../../lib/train/trainer.ts";
import { jax, type JaxArray, jaxArray, openJax } from "../libraries/jax.ts";
import { type TorchDevice, torchRunner, torchWays } from "../libraries/pytorch.ts";
import { tf, type TfjsBackend, tfjsWays, useTfjs } from "../libraries/tfjs.ts";
import { forwardOnly, peers } from "../peers.ts";
import type { Group, Runner, Ways, Work } from "../work.ts";
import { classes, examples, ids, length, objective, texts, vocabulary } from "./batch.ts";
import { jaxCrossEntropy, oneHot, tfjsCrossEntropy } from "./cross_entropy.ts";
import { scale } from "./peer_encoders.ts";
import { type ShapedEncoder, shapedEncoder } from "./shaped_encoder.ts";
import { decoderTrainee, encoderTrainee, type Trainee, useLiteTrainee } from "./trainees.ts";

const tokens = texts * length;
/** More steps than a race runs. */
const steps = 400;
const learningRate = 1e-3;
const { beta1, beta2, epsilon } = adamWDefaults;
/** Steps whose losses are compared. */
const compared = 3;

/** The losses by which the libraries' results are compared. */
async function firstLosses(next: () => Promise<number>): Promise<Float32Array[]> {
  const losses = [];
  for (let i = 0; i < compared; i++) losses.push(await next());
  return [Float32Array.from(losses)];
}

function ourStep(
  gpu: Gpu,
  { model, target }: Trainee,
  method: Method,
  options: object,
): () => Promise<Runner> {
  return () => {
    const adapter = attach(model, method, { ...options, target } as AttachOptions);
    const trainer = new Trainer({
      gpu,
      model,
      adapter,
      objective: objective(model),
      examples,
      learningRate,
      epochs: steps,
      batchSize: texts,
      warmupRatio: 0,
      seed: 0,
      maxNorm: 0,
    });
    return Promise.resolve({
      results: () => firstLosses(async () => (await trainer.epoch())[0].loss),
      async lap(times) {
        for (let i = 0; i < times; i++) await trainer.epoch();
      },
      dispose: () => trainer[Symbol.dispose](),
    });
  };
}

/** The trainable tensors with the initial values that this library draws. */
function trainableOf({ model, target }: Trainee): Map<string, Weight> {
  const adapter = attach(model, methodByName("LoRA"), { r: 8, alpha: 16, target } as AttachOptions);
  const own = [...objective(model).parameters].map(
    ([name, spec]): [string, Weight] => [name, initialise(name, spec, 0)],
  );
  return new Map([...own, ...startingWeights(model, adapter, 0)]);
}

/** The learning rate and Adam's bias corrections of a step. */
function schedule(step: number): [rate: number, c1: number, c2: number] {
  return [learningRate * (steps - step) / steps, 1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1)];
}

const hot = oneHot(examples.map(({ label }) => label), classes);

function tfjsStep(trainee: Trainee, backend: TfjsBackend): () => Promise<Runner> {
  return async () => {
    await useTfjs(backend);
    const { model } = trainee;
    const toTensor = ({ data, shape }: Weight) => tf.tensor(data, [...shape]);
    const frozen = new Map([...model.weights, ...model.constants].map(([name, w]) => [name, toTensor(w)]));
    // tfjs chooses the names, because all backends share one namespace.
    const variables = new Map([...trainableOf(trainee)].map(([name, w]) => [name, tf.variable(toTensor(w))]));
    const moments = new Map(
      [...variables].map(([name, v]) => [name, [0, 1].map(() => tf.variable(tf.zerosLike(v)))]),
    );
    const [tokenIds, labels] = [tf.tensor1d([...ids], "int32"), toTensor(hot)];
    const weights = new Map<string, tf.Tensor>([...frozen, ...variables]);
    const forward = () => tfjsCrossEntropy(trainee.tfjsScores(weights, tokenIds), labels);
    let step = 0;
    const once = (): tf.Scalar =>
      tf.tidy(() => {
        const { value, grads } = tf.variableGrads(forward, [...variables.values()]);
        const [rate, c1, c2] = schedule(step++);
        for (const [name, variable] of variables) {
          const [m, v] = moments.get(name)!;
          const g = grads[variable.name];
          m.assign(tf.add(tf.mul(m, beta1), tf.mul(g, 1 - beta1)));
          v.assign(tf.add(tf.mul(v, beta2), tf.mul(tf.square(g), 1 - beta2)));
          const change = tf.div(tf.div(m, c1), tf.add(tf.sqrt(tf.div(v, c2)), epsilon));
          variable.assign(tf.sub(variable, tf.mul(change, rate)));
        }
        return value;
      });
    return {
      async results() {
        await useTfjs(backend);
        return await firstLosses(async () => (await once().data())[0]);
      },
      async lap(times) {
        await useTfjs(backend);
        for (let i = 1; i < times; i++) once().dispose();
        await once().data();
      },
      dispose: () =>
        tf.dispose([...variables.values(), ...frozen.values(), ...moments.values(), tokenIds, labels].flat()),
    };
  };
}

type Arrays = Record<string, JaxArray>;

/** An AdamW step of one tensor; `numbers` are those of `schedule`. */
const jaxAdamW = () =>
  jax.jit((w: JaxArray, g: JaxArray, m: JaxArray, v: JaxArray, numbers: JaxArray) => {
    const [rate, c1, c2] = [0, 1, 2].map((i) => numbers.ref.slice(i));
    const newM = m.mul(beta1).add(g.ref.mul(1 - beta1));
    const newV = v.mul(beta2).add(g.ref.mul(g).mul(1 - beta2));
    const change = newM.ref.div(c1).div(jax.numpy.sqrt(newV.ref.div(c2)).add(epsilon));
    return [w.sub(change.mul(rate)), newM, newV];
  });

function jaxStep(trainee: Trainee): () => Promise<Runner> {
  return async () => {
    await openJax();
    const np = jax.numpy;
    const fixed = [...trainee.model.weights, ...Object.entries(trainee.jaxConstants)];
    const frozen: Arrays = {
      ...Object.fromEntries(fixed.map(([name, w]) => [name, jaxArray(w)])),
      ids: np.array(Int32Array.from(ids), { dtype: np.int32 }),
      hot: jaxArray(hot),
    };
    let trainable: Arrays = Object.fromEntries(
      [...trainableOf(trainee)].map(([name, w]) => [name, jaxArray(w)]),
    );
    const zeros = () =>
      Object.fromEntries(Object.entries(trainable).map(([name, a]) => [name, np.zerosLike(a.ref)]));
    let [m, v] = [zeros(), zeros()];
    const lossAndGradients = jax.jit((trainable: Arrays, frozen: Arrays) =>
      jax.valueAndGrad((own: Arrays) =>
        jaxCrossEntropy(trainee.jaxScores({ ...frozen, ...own }), frozen.hot.ref)
      )(trainable)
    );
    const update = jaxAdamW();
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

function torchStep(trainee: Trainee, device: TorchDevice): Promise<Runner> {
  const { model } = trainee;
  const trainable = trainableOf(trainee);
  return torchRunner(
    device,
    "lora_step",
    Object.fromEntries([...model.weights, ...model.constants, ...trainable]),
    {
      ids,
      labels: examples.map(({ label }) => label),
      scores: trainee.torch.scores,
      shape: { texts, scale, ...trainee.torch.shape },
      trainable: [...trainable.keys()],
      ...{ rate: learningRate, steps, beta1, beta2, epsilon },
    },
    compared,
  );
}

const peerSteps = (trainee: Trainee): Ways => ({
  ...tfjsWays((backend) => tfjsStep(trainee, backend)()),
  "jax-js": jaxStep(trainee),
  ...torchWays((device) => torchStep(trainee, device)),
});

const loraCannot = {
  "doppler-gpu": "trains only the decoders it converts",
  "onnxruntime-node": forwardOnly,
};
const boraCannot = Object.fromEntries(Object.keys(peers).map((peer) => [peer, "has no BoRA"]));

/** A training step of `method` on the layers of `model`; LoRA runs in every library. */
export function step(gpu: Gpu, model: ShapedEncoder, label: string, method: string, options: object): Work {
  return stepOf(gpu, encoderTrainee(model, { texts, length }), label, method, options);
}

function stepOf(gpu: Gpu, trainee: Trainee, label: string, method: string, options: object): Work {
  const { model, layers, target, attention, untrainedBelow } = trainee;
  const adapter = attach(model, methodByName(method), { ...options, target } as AttachOptions);
  const costs = adapter.modules.map(({ module, options }) => adapter.method.cost(module, options));
  const perToken = costs.reduce((sum, { forward, backward }) => sum + forward + backward, 0);
  // Nothing is trained below the first layer's adapters, so they need no gradient of their input (n·r each).
  const unneeded = untrainedBelow + target.length * model.linears[0].n * 8;
  return {
    name: `${label}, ${layers} layer${layers > 1 ? "s" : ""}`,
    flops: 2 * tokens * (2 * model.multiplyAddsPerToken + perToken + 3 * attention - unneeded),
    bytes: 4 * model.multiplyAddsPerToken,
    ways: {
      "this library": ourStep(gpu, trainee, methodByName(method), options),
      ...(method === "LoRA" ? peerSteps(trainee) : {}),
    },
    cannot: method === "LoRA" ? loraCannot : boraCannot,
  };
}

export const loraStep: Group = {
  name: "steps",
  title:
    "A training step on USE-lite and on layers of RoBERTa-base's and of LLaMA's shape, 8 texts of 64 tokens",
  works: async (gpu) => {
    const batch = { texts, length };
    const encoder = encoderTrainee(shapedEncoder(1, vocabulary, length), batch);
    const decoder = decoderTrainee(2, vocabulary, batch);
    const useLite = await useLiteTrainee(batch);
    const [lora, bora] = [{ r: 8, alpha: 16 }, { r: 8, alpha: 16, blocks: 16 }];
    return [
      stepOf(gpu, encoder, "LoRA r 8", "LoRA", lora),
      stepOf(gpu, encoder, "BoRA r 8 b 16", "BoRA", bora),
      stepOf(gpu, encoder, 'BoRA r 8 b "auto" (24)', "BoRA", { ...lora, blocks: "auto" }),
      stepOf(gpu, decoder, "LLaMA's shape, LoRA r 8", "LoRA", lora),
      stepOf(gpu, decoder, "LLaMA's shape, BoRA r 8 b 16", "BoRA", bora),
      stepOf(gpu, useLite, "USE-lite, LoRA r 8", "LoRA", lora),
      stepOf(gpu, useLite, "USE-lite, BoRA r 8 b 16", "BoRA", bora),
    ];
  },
};
