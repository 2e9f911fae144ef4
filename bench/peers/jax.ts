/** jax-js with its WebGPU device. An array passed to a function is consumed unless it is passed as `.ref`. */

import { defaultDevice, init, numpy as np } from "npm:@jax-js/jax@0.1.25";
import type { Peer } from "./peer.ts";

export async function jax(): Promise<Peer> {
  if (!(await init("webgpu")).includes("webgpu")) throw new Error("jax-js found no WebGPU device");
  defaultDevice("webgpu");
  return {
    name: "jax-js 0.1.25",
    prepare({ layout, m, n, k, a, b }) {
      const left = np.array(a, { shape: layout === "TN" ? [k, m] : [m, k] });
      const right = np.array(b, { shape: layout === "NT" ? [n, k] : [k, n] });
      const product = () =>
        np.matmul(
          layout === "TN" ? np.transpose(left.ref) : left.ref,
          layout === "NT" ? np.transpose(right.ref) : right.ref,
        );
      return Promise.resolve({
        run: async (repeats) => {
          for (let i = 1; i < repeats; i++) (await product().blockUntilReady()).dispose();
          return await product().data() as Float32Array;
        },
        dispose: () => {
          left.dispose();
          right.dispose();
        },
      });
    },
  };
}
