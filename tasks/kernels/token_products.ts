/** The linear layers of a decoder on one token, whose weights are packed: what decoding a token mostly waits for. */

import { Graph, type Tensor } from "../../lib/graph/graph.ts";
import { linear } from "../../lib/graph/ops/product/product.ts";
import { packedStorage, type Packing } from "../../lib/graph/storages/registry.ts";
import type { Model } from "../../lib/models/model.ts";

/** The formats that are compiled: the usual ones, and one of each way of reading. */
export const tokenPackings: readonly Packing[] = ["f16", "int8", "int4", "q8_0", "q4_0", "q4_k"];

/** y = x Wᵀ of each linear layer of `model` for one x, with W packed. */
export function tokenProducts({ linears }: Model, packing: Packing): Tensor[] {
  const graph = new Graph();
  const { scaleEvery } = packedStorage(packing);
  return linears.map(({ path, m, n }) =>
    graph.scope(path, () => {
      const values = graph.weight(`${path}.weight`, [m, n], false, packing);
      const scales = scaleEvery ? graph.weight(`${path}.scales`, [m * n / scaleEvery], false) : undefined;
      return linear(graph.input(`x of ${n}`, [1, n]), { values, scales });
    })
  );
}
