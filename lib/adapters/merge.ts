/** Merging an adapter into the weights of its layers. */

import type { Graph, Tensor } from "../graph/graph.ts";
import { swapAxes } from "../graph/ops/layout.ts";
import { linear } from "../graph/ops/product/product.ts";
import type { Adapter } from "./attach.ts";
import type { Method } from "./method.ts";
import type { AdaptedModule } from "./targeting.ts";
import { tracedParameters } from "./trace.ts";

/** Throws an Error when the method's update depends on the input. */
export function checkMergeable({ name, mergeable }: Method): void {
  if (mergeable) return;
  throw new Error(`${name} cannot be merged: its update depends on the input. Keep the adapter attached.`);
}

/**
 * The merged weight [m, n] of one adapted layer. The adapted layer without its bias is linear in x, so
 * applying it to the n unit vectors (`identity`, [n, n]) gives the columns of its weight.
 * @throws Error when the update depends on the input.
 */
export function tracedMerge(
  graph: Graph,
  adapter: Adapter,
  adapted: AdaptedModule,
  identity: Tensor,
): Tensor {
  const { method } = adapter;
  checkMergeable(method);
  const { path, m, n } = adapted.module;
  const weight = graph.weight(`${path}.weight`, [m, n], adapter.trainedBase.has(`${path}.weight`));
  const columns = graph.scope(path, () =>
    method.forward({
      ...adapted,
      x: identity,
      dropped: identity,
      weight,
      parameters: tracedParameters(graph, adapter, adapted),
      lengths: graph.input("lengths", [1], "u32"),
      base: () => linear(identity, weight),
      product: () => linear(identity, weight),
      addLoss: () => {},
    }));
  return transposed(columns);
}

/** [p, q] → [q, p]. */
export function transposed(matrix: Tensor): Tensor {
  const [p, q] = matrix.shape;
  return swapAxes(matrix, { p, q, width: 1 }, [q, p]);
}
