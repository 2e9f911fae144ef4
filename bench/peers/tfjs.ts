/** TensorFlow.js with its WebGPU backend, eager as its users run it. */

import "npm:@tensorflow/tfjs-backend-webgpu@4.22.0";
import * as tf from "npm:@tensorflow/tfjs-core@4.22.0";
import type { Peer } from "./peer.ts";

export async function tfjs(): Promise<Peer> {
  if (!await tf.setBackend("webgpu")) throw new Error("tfjs found no WebGPU backend");
  await tf.ready();
  return {
    name: "tfjs-webgpu 4.22.0",
    prepare({ layout, m, n, k, a, b }) {
      const [transposeA, transposeB] = [layout === "TN", layout === "NT"];
      const left = tf.tensor2d(a, transposeA ? [k, m] : [m, k]);
      const right = tf.tensor2d(b, transposeB ? [n, k] : [k, n]);
      return Promise.resolve({
        run: async (repeats) => {
          for (let i = 1; i < repeats; i++) tf.matMul(left, right, transposeA, transposeB).dispose();
          const last = tf.matMul(left, right, transposeA, transposeB);
          const values = await last.data<"float32">();
          last.dispose();
          return values;
        },
        dispose: () => tf.dispose([left, right]),
      });
    },
  };
}
