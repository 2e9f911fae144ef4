/** This library. */

import type { Gpu } from "../../lib/gpu/device.ts";
import { compile } from "../../lib/graph/compile.ts";
import { Graph } from "../../lib/graph/graph.ts";
import { matmul } from "../../lib/graph/ops/matmul.ts";
import type { Peer } from "./peer.ts";

export function ours(gpu: Gpu): Peer {
  return {
    name: "this library",
    async prepare({ layout, m, n, k, a, b }) {
      const [transposeA, transposeB] = [layout === "TN", layout === "NT"];
      const graph = new Graph();
      const product = matmul(
        graph.weight("a", transposeA ? [k, m] : [m, k], false),
        graph.weight("b", transposeB ? [n, k] : [k, n], false),
        { transposeA, transposeB },
      );
      const buffers = new Map(
        [["a", a], ["b", b]].map(([name, data]) => {
          const values = data as Float32Array<ArrayBuffer>;
          const buffer = gpu.createBuffer(name as string, values.byteLength);
          gpu.upload(buffer, values);
          return [name as string, buffer];
        }),
      );
      const compiled = await compile(gpu, [product], {
        label: `bench ${layout}`,
        weights: (name) => {
          const buffer = buffers.get(name)!;
          return { buffer, offset: 0, bytes: buffer.size };
        },
      });
      const { buffer, offset, bytes } = compiled.view(product);
      return {
        run: async (repeats) => {
          for (let i = 0; i < repeats; i++) compiled.program.replay();
          return new Float32Array(await gpu.read(buffer, bytes, offset));
        },
        dispose: () => buffers.forEach((operand) => gpu.destroyBuffer(operand)),
      };
    },
  };
}
