/** Softmax cross-entropy and its gradient with respect to the logits. */

import { grad } from "../../lib/graph/grad.ts";
import { crossEntropy as ourCrossEntropy } from "../../lib/graph/ops/losses.ts";
import { dopplerRunner } from "../libraries/doppler.ts";
import { jax, jaxRunner } from "../libraries/jax.ts";
import { ourRunner } from "../libraries/ours.ts";
import { torchRunner, torchWays } from "../libraries/pytorch.ts";
import { tf, tfjsRunner, tfjsWays } from "../libraries/tfjs.ts";
import { forwardOnly } from "../peers.ts";
import { type Group, type Input, randomInput, type Runner } from "../work.ts";

/** One-hot rows of `labels`. */
export function oneHot(labels: readonly number[], classes: number): Input {
  const data = new Float32Array(labels.length * classes);
  labels.forEach((label, row) => data[row * classes + label] = 1);
  return { shape: [labels.length, classes], data };
}

/** The mean over rows of −log softmax(logits)[label], in tfjs. */
export function tfjsCrossEntropy(logits: tf.Tensor, hot: tf.Tensor): tf.Scalar {
  return tf.mul(tf.sum(tf.mul(tf.logSoftmax(logits), hot)), -1 / hot.shape[0]);
}

/** The same in jax-js; consumes its arguments. */
export function jaxCrossEntropy(logits: jax.numpy.Array, hot: jax.numpy.Array): jax.numpy.Array {
  const rows = hot.shape[0];
  return jax.nn.logSoftmax(logits, -1).mul(hot).sum().mul(-1 / rows);
}

/** In doppler, whose loss has one value per row: a matrix product computes the mean. */
function dopplerWay(logits: Input, labels: readonly number[]): Promise<Runner> {
  const rows = labels.length;
  const inputs = {
    logits,
    // doppler expects integers here, so their bits are uploaded as floats.
    labels: { shape: [rows], data: new Float32Array(Uint32Array.from(labels).buffer) },
    mean: { shape: [1, rows], data: new Float32Array(rows).fill(1 / rows) },
  };
  return dopplerRunner(inputs, async ({ logits, labels, mean }, doppler) => {
    const tape = doppler.newTape();
    const losses = await doppler.crossEntropyLoss(logits, labels, null, tape);
    const options = { transposeB: false, outputDtype: "f32", bDtype: "f32" } as const;
    const loss = await doppler.runMatmul(mean, losses, 1, 1, rows, options);
    const gradients = await tape.backward(mean);
    doppler.release(...tape.records.map(({ output }) => output));
    return [loss, gradients.get(logits)!];
  });
}

export const crossEntropy: Group = {
  name: "cross-entropy",
  title: "Softmax cross-entropy with its gradient (the peers' labels one-hot, as they want them)",
  works: (gpu) =>
    ([[512, 41], [512, 32000]] as const).map(([rows, classes]) => {
      const labels = Array.from({ length: rows }, (_, row) => row * 7919 % classes);
      const logits = randomInput("logits", [rows, classes], 3);
      const inputs = { logits, hot: oneHot(labels, classes) };
      return {
        name: `${rows} rows of ${classes}`,
        flops: 8 * rows * classes,
        bytes: 12 * rows * classes,
        ways: {
          "this library": () =>
            ourRunner(
              gpu,
              { logits, weights: { shape: [rows], data: new Float32Array(rows).fill(1) } },
              ({ logits, labels, weights }) => {
                const loss = ourCrossEntropy(logits, labels, weights);
                return [loss, ...grad([loss], [logits])];
              },
              { integers: { labels: Uint32Array.from(labels) }, trainable: ["logits"] },
            ),
          ...tfjsWays((backend) =>
            tfjsRunner(backend, inputs, ({ logits, hot }) => {
              const { value, grad } = tf.valueAndGrad((x: tf.Tensor) => tfjsCrossEntropy(x, hot))(logits);
              return [value, grad];
            })
          ),
          "jax-js": () =>
            jaxRunner(inputs, ({ logits, hot }) => {
              const [value, gradient] = jax.valueAndGrad((x: jax.numpy.Array) => jaxCrossEntropy(x, hot))(
                logits,
              );
              return [value, gradient];
            }),
          "doppler-gpu": () => dopplerWay(logits, labels),
          ...torchWays((device) => torchRunner(device, "cross_entropy", { logits }, { labels })),
        },
        cannot: { "onnxruntime-node": forwardOnly },
      };
    }),
};
