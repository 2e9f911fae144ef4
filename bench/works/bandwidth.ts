/** Adding two arrays. Its speed is the memory's, so it gives the bandwidth of the roofline. */

import { add } from "../../lib/graph/ops/binary.ts";
import { dopplerRunner } from "../libraries/doppler.ts";
import { jax, jaxRunner } from "../libraries/jax.ts";
import { onnxRunner } from "../libraries/onnx.ts";
import { ourRunner } from "../libraries/ours.ts";
import { torchRunner, torchWays } from "../libraries/pytorch.ts";
import { tf, tfjsRunner, tfjsWays } from "../libraries/tfjs.ts";
import { type Group, randomInput } from "../work.ts";

const size = 1 << 22;

export const bandwidth: Group = {
  name: "bandwidth",
  title: "Adding two arrays",
  works: (gpu) => {
    const inputs = { a: randomInput("a", [size]), b: randomInput("b", [size]) };
    return [{
      name: `${size.toLocaleString("en-US")} floats`,
      flops: size,
      bytes: 12 * size,
      ways: {
        "this library": () => ourRunner(gpu, inputs, ({ a, b }) => [add(a, b)]),
        ...tfjsWays((backend) => tfjsRunner(backend, inputs, ({ a, b }) => [tf.add(a, b)])),
        "jax-js": () => jaxRunner(inputs, ({ a, b }) => [jax.numpy.add(a, b)]),
        "doppler-gpu": () =>
          dopplerRunner(inputs, async ({ a, b }, doppler) => [await doppler.runResidualAdd(a, b, size)]),
        "onnxruntime-node": () => onnxRunner(inputs, (graph) => [graph.add("Add", ["a", "b"])]),
        ...torchWays((device) => torchRunner(device, "sum_of_arrays", inputs)),
      },
    }];
  },
};
