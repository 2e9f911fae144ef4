/**
 * The factors of one layer's update where it factors exactly, ΔW = B′A′: a LoRA with scale 1. Each half of the
 * method, applied to unit vectors, gives the columns of its matrix.
 */

import type { Graph, Tensor } from "../graph/graph.ts";
import type { Adapter } from "./attach.ts";
import { transposed } from "./merge.ts";
import type { Halves, UpSite } from "./method.ts";
import type { AdaptedModule } from "./targeting.ts";
import { tracedParameters } from "./trace.ts";

/** ΔW = B′A′ of an m×n layer. A factor that is absent is the identity. */
export interface TracedFactors {
  /** Rank R: at most min(m, n). */
  readonly rank: number;
  /** A′: [R, n]. */
  readonly A?: Tensor;
  /** B′: [m, R]. */
  readonly B?: Tensor;
}

/** The name of the input, [size, size], that must be the identity. */
export function identityInput(size: number): string {
  return `identity of ${size}`;
}

function identityOf(graph: Graph, size: number): Tensor {
  return graph.input(identityInput(size), [size, size]);
}

/** The site of one layer, and its first half's columns, [n, R]. */
function downOfUnits(graph: Graph, halves: Halves, adapter: Adapter, adapted: AdaptedModule) {
  const { module, options } = adapted;
  const site: UpSite = { module, options, parameters: tracedParameters(graph, adapter, adapted) };
  return { site, columns: halves.down({ ...site, dropped: identityOf(graph, module.n) }) };
}

/**
 * The factors of the update of one layer. If the width between the halves exceeds min(m, n), the update itself
 * is the one factor.
 */
export function tracedFactors(
  graph: Graph,
  halves: Halves,
  adapter: Adapter,
  adapted: AdaptedModule,
): TracedFactors {
  const { m, n } = adapted.module;
  const { site, columns } = downOfUnits(graph, halves, adapter, adapted);
  const [, rank] = columns.shape;
  if (rank <= Math.min(m, n)) {
    const B = transposed(halves.up(site, identityOf(graph, rank)));
    return { rank, A: transposed(columns), B };
  }
  const update = transposed(halves.up(site, columns));
  return m <= n ? { rank: m, A: update } : { rank: n, B: update };
}

/** ΔW of one layer, [m, n], as its factors' product. It reads no weight of the base. */
export function tracedUpdate(
  graph: Graph,
  halves: Halves,
  adapter: Adapter,
  adapted: AdaptedModule,
): Tensor {
  const { site, columns } = downOfUnits(graph, halves, adapter, adapted);
  return transposed(halves.up(site, columns));
}
