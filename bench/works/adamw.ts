/**
 * One AdamW step with global-norm clipping over flat weights: as many as RoBERTa-base's adapters have, and a
 * million.
 */

import { buildProgram } from "../../lib/gpu/program.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import { AdamW, adamWDefaults } from "../../lib/train/adamw.ts";
import { TrainableWeights } from "../../lib/run/trainable_weights.ts";
import { dopplerRunner } from "../libraries/doppler.ts";
import { jax, jaxRunner } from "../libraries/jax.ts";
import { torchRunner, torchWays } from "../libraries/pytorch.ts";
import { tf, tfjsRunner, tfjsWays } from "../libraries/tfjs.ts";
import { forwardOnly } from "../peers.ts";
import { type Group, type Input, randomInput, type Runner, type Work } from "../work.ts";

const rate = 1e-3;
const { beta1, beta2, epsilon, maxNorm } = adamWDefaults;
/** Adam's bias corrections at the first step. */
const [c1, c2] = [1 - beta1, 1 - beta2];

async function ourAdamW(gpu: Gpu, w: Input, g: Input): Promise<Runner> {
  using owned = new DisposableStack();
  const weights = owned.use(new TrainableWeights(gpu, new Map([["w", w]])));
  const optimizer = owned.use(new AdamW(gpu, weights, adamWDefaults, [rate], () => false));
  const scalar = (label: string, bytes: number) => {
    const buffer = owned.adopt(gpu.createBuffer(label, bytes), (own) => gpu.destroyBuffer(own));
    return { buffer, offset: 0, bytes };
  };
  gpu.upload(weights.gradients, g.data);
  const calls = optimizer.calls(scalar("loss", 4), scalar("clock", 8));
  const program = owned.use(await buildProgram(gpu, "adamw", calls));
  const all = owned.move();
  return {
    async results() {
      program.replay();
      const state = await weights.state();
      return ["values", "moment1", "moment2"].map((name) => state.get(name)!.data);
    },
    async lap(times) {
      for (let i = 0; i < times; i++) program.replay();
      await gpu.read(weights.values, 4);
    },
    dispose: () => all.dispose(),
  };
}

function step(gpu: Gpu, size: number): Work {
  const [w, g] = [randomInput("w", [size]), randomInput("g", [size], 0.1)];
  const zeros: Input = { shape: [size], data: new Float32Array(size) };
  const inputs = { w, g, m: zeros, v: zeros };
  const np = jax.numpy;
  return {
    name: `${size.toLocaleString("en-US")} weights`,
    flops: 16 * size,
    bytes: 32 * size,
    ways: {
      "this library": () => ourAdamW(gpu, w, g),
      ...tfjsWays((backend) =>
        tfjsRunner(backend, inputs, ({ w, g, m, v }) => {
          const clipped = tf.mul(g, tf.minimum(1, tf.div(maxNorm, tf.norm(g))));
          const m1 = tf.add(tf.mul(m, beta1), tf.mul(clipped, 1 - beta1));
          const v1 = tf.add(tf.mul(v, beta2), tf.mul(tf.square(clipped), 1 - beta2));
          const change = tf.div(tf.div(m1, c1), tf.add(tf.sqrt(tf.div(v1, c2)), epsilon));
          return [tf.sub(w, tf.mul(change, rate)), m1, v1];
        })
      ),
      "jax-js": () =>
        jaxRunner(inputs, ({ w, g, m, v }) => {
          const norm = np.sqrt(g.ref.mul(g.ref).sum());
          const clipped = g.mul(np.minimum(1, np.reciprocal(norm).mul(maxNorm)));
          const m1 = m.mul(beta1).add(clipped.ref.mul(1 - beta1));
          const v1 = v.mul(beta2).add(clipped.ref.mul(clipped).mul(1 - beta2));
          return [w.sub(m1.ref.div(c1).div(np.sqrt(v1.ref.div(c2)).add(epsilon)).mul(rate)), m1, v1];
        }),
      "doppler-gpu": () => {
        let step = 1;
        return dopplerRunner(inputs, async ({ w, g, m, v }, doppler) => {
          const clip = { training: { gradient: { maxNorm } } };
          const clipped = (await doppler.clipGradients(new Map([["w", g]]), clip)).clippedGrads.get("w")!;
          await doppler.runAdam(w, clipped, m, v, { step: step++, lr: rate, beta1, beta2, eps: epsilon });
          doppler.release(clipped);
          return [w, m, v];
        });
      },
      ...torchWays((device) =>
        torchRunner(device, "adamw", { w, g }, { rate, beta1, beta2, epsilon, maxNorm })
      ),
    },
    cannot: { "onnxruntime-node": forwardOnly },
  };
}

export const adamW: Group = {
  name: "adamw",
  title: "AdamW with clipping",
  // Multiples of 64, so that the flat state contains no padding.
  works: (gpu) => [294912, 1 << 20].map((size) => step(gpu, size)),
};
