/** How a sequence's hidden rows become one vector. */

import type { Tensor } from "../graph/graph.ts";
import { firstToken } from "../graph/ops/first_token.ts";
import { lastToken } from "../graph/ops/last_token.ts";
import { meanPool } from "../graph/ops/mean_pool.ts";
import type { Model, Tokens, Tracer } from "./model.ts";

/** The first token's row, the mean over the sequence's tokens, or the last token's row. */
export type Pooling = "first" | "mean" | "last";

const pools: Readonly<Record<Pooling, (rows: Tensor, lengths: Tensor) => Tensor>> = {
  first: (rows, lengths) => firstToken(rows, lengths.shape[0]),
  mean: meanPool,
  last: lastToken,
};

/** The model's pooling as adapters and checkpoints record it: only where it is not its class's own. */
export function recordedPooling({ pooling, pooledByFolder }: Model): Pooling | undefined {
  return pooledByFolder && pooling;
}

/** Hidden rows [sequences · length, width] → vectors [sequences, width], through the model's pooler if it has one. */
export function vectorsOf(
  { pooling, pooler, trunk = "" }: Model,
  tracer: Tracer,
  hidden: Tensor,
  { lengths }: Tokens,
): Tensor {
  const pooled = tracer.graph.scope(trunk, () => pools[pooling](hidden, lengths));
  return pooler ? tracer.linear(pooler, pooled, { activation: "tanh" }) : pooled;
}
