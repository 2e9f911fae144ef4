/** LayerNorm over the rows of a matrix. */

import { layerNorm as ourLayerNorm } from "../../lib/graph/ops/layer_norm.ts";
import { dopplerRunner } from "../libraries/doppler.ts";
import { jax, type JaxArray, jaxRunner } from "../libraries/jax.ts";
import { type OnnxGraph, onnxRunner } from "../libraries/onnx.ts";
import { ourRunner } from "../libraries/ours.ts";
import { torchRunner, torchWays } from "../libraries/pytorch.ts";
import { tf, tfjsRunner, tfjsWays } from "../libraries/tfjs.ts";
import { type Group, randomInput } from "../work.ts";
import { epsilon } from "./shaped_encoder.ts";

const width = 768;

/** γ (x − μ) / √(variance + ε) + β in tfjs. */
export function tfjsLayerNorm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, added = epsilon): tf.Tensor {
  const { mean, variance } = tf.moments(x, -1, true);
  const normal = tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, added)));
  return tf.add(tf.mul(normal, gamma), beta);
}

/** The same in jax-js; consumes its arguments. */
export function jaxLayerNorm(x: JaxArray, gamma: JaxArray, beta: JaxArray, added = epsilon): JaxArray {
  return jax.nn.standardize(x, -1, { epsilon: added }).mul(gamma).add(beta);
}

/** The same in ONNX. */
export function onnxLayerNorm(graph: OnnxGraph, x: string, gamma: string, beta: string): string {
  return graph.add("LayerNormalization", [x, gamma, beta], { epsilon: { float: epsilon } });
}

export const layerNorm: Group = {
  name: "layer-norm",
  title: "LayerNorm",
  works: (gpu) =>
    [128, 512, 2048].map((rows) => {
      const inputs = {
        x: randomInput("x", [rows, width]),
        gamma: randomInput("gamma", [width]),
        beta: randomInput("beta", [width]),
      };
      return {
        name: `${rows}×${width}`,
        flops: 8 * rows * width,
        bytes: 8 * rows * width,
        ways: {
          "this library": () =>
            ourRunner(gpu, inputs, ({ x, gamma, beta }) => [ourLayerNorm(x, gamma, beta, epsilon)]),
          ...tfjsWays((backend) =>
            tfjsRunner(backend, inputs, ({ x, gamma, beta }) => [tfjsLayerNorm(x, gamma, beta)])
          ),
          "jax-js": () => jaxRunner(inputs, ({ x, gamma, beta }) => [jaxLayerNorm(x, gamma, beta)]),
          "doppler-gpu": () =>
            dopplerRunner(inputs, async ({ x, gamma, beta }, doppler) => [
              await doppler.runLayerNorm(x, gamma.buffer, beta.buffer, epsilon, {
                batchSize: rows,
                hiddenSize: width,
                normWeightDtype: "f32",
              }),
            ]),
          "onnxruntime-node": () =>
            onnxRunner(inputs, (graph) => [onnxLayerNorm(graph, "x", "gamma", "beta")]),
          ...torchWays((device) => torchRunner(device, "layer_norm", inputs, { epsilon })),
        },
      };
    }),
};
