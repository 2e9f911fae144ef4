/**
 * Matrix products of the paper's models: BERT-base-like and LLaMA-like layers at 128, 512 and 2048 tokens, in
 * three layouts.
 */

import type { Gpu } from "../../lib/gpu/device.ts";
import { matmul } from "../../lib/graph/ops/product/product.ts";
import { dopplerRunner } from "../libraries/doppler.ts";
import { jax, jaxRunner } from "../libraries/jax.ts";
import { onnxRunner } from "../libraries/onnx.ts";
import { ourRunner } from "../libraries/ours.ts";
import { torchRunner, torchWays } from "../libraries/pytorch.ts";
import { tf, tfjsRunner, tfjsWays } from "../libraries/tfjs.ts";
import { type Group, lazily, randomInput, type Work } from "../work.ts";

/**
 * NN: A B; NT: A Bᵀ (a linear layer's forward pass, B stored n×k); TN: Aᵀ B (a weight's gradient, A stored
 * k×m).
 */
type Layout = "NN" | "NT" | "TN";

/** One product of an m×k and a k×n matrix in every library. */
export function product(gpu: Gpu, layout: Layout, m: number, n: number, k: number): Work {
  const [transposeA, transposeB] = [layout === "TN", layout === "NT"];
  const inputs = lazily(() => ({
    a: randomInput("a", transposeA ? [k, m] : [m, k]),
    b: randomInput("b", transposeB ? [n, k] : [k, n]),
  }));
  const { matmul: product, transpose } = jax.numpy;
  return {
    name: `${layout} ${m}×${n}×${k}`,
    flops: 2 * m * n * k,
    bytes: 4 * (m * k + k * n + m * n),
    ways: {
      "this library": () =>
        ourRunner(gpu, inputs(), ({ a, b }) => [matmul(a, b, { transposeA, transposeB })]),
      ...tfjsWays((backend) =>
        tfjsRunner(backend, inputs(), ({ a, b }) => [tf.matMul(a, b, transposeA, transposeB)])
      ),
      "jax-js": () =>
        jaxRunner(inputs(), ({ a, b }) => [
          product(transposeA ? transpose(a) : a, transposeB ? transpose(b) : b),
        ]),
      "doppler-gpu": () =>
        dopplerRunner(inputs(), async ({ a, b }, doppler) => [
          transposeA
            ? (await doppler.runMatmulBackward(a, b, b, { M: k, N: n, K: m, computeGradInput: false }))
              .gradWeight
            : await doppler.runMatmul(a, b, m, n, k, { transposeB, outputDtype: "f32", bDtype: "f32" }),
        ]),
      "onnxruntime-node": () =>
        onnxRunner(inputs(), (graph) => [
          graph.add("Gemm", ["a", "b"], { transA: { int: +transposeA }, transB: { int: +transposeB } }),
        ]),
      ...torchWays((device) => torchRunner(device, "product", inputs(), { transposeA, transposeB })),
    },
  };
}

const tokens = [128, 512, 2048];
const layers: readonly (readonly [n: number, k: number])[] = [[768, 768], [768, 3072], [3072, 768], [
  4096,
  1024,
]];

export const products: Group = {
  name: "products",
  title: "Matrix products",
  works: (gpu) =>
    tokens.flatMap((m) =>
      layers.flatMap(([n, k]) => (["NT", "NN", "TN"] as const).map((layout) => product(gpu, layout, m, n, k)))
    ),
};

/**
 * The matrix products of an adapter with rank r on a 768×768 layer at 512 tokens: x Aᵀ, V Bᵀ, and the
 * gradients of A and V.
 */
export const skinnyProducts: Group = {
  name: "skinny",
  title: "The products of a low-rank adapter",
  works: (gpu) =>
    [4, 8, 32].flatMap((r) => [
      product(gpu, "NT", 512, r, 768),
      product(gpu, "NT", 512, 768, r),
      product(gpu, "TN", r, 768, 512),
      product(gpu, "NN", 512, r, 768),
    ]),
};
