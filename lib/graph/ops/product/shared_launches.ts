/** The launches of products that share one operand. */

import gradientText from "../../../../wgsl/shared_gradient.wgsl" with { type: "text" };
import projectionText from "../../../../wgsl/shared_projection.wgsl" with { type: "text" };
import lanesText from "../../../../wgsl/shared_projection_lanes.wgsl" with { type: "text" };
import { type DeviceTraits, renderKernel, sharingLanes } from "../../../gpu/kernel.ts";
import type { Dispatch, Tensor } from "../../graph.ts";
import { pieceOf } from "./choice.ts";
import { problemOf } from "./problem.ts";
import type { ProductNode } from "./product.ts";
import { evenTile, lanesOf } from "./skinny_kernels.ts";

/** The bindings `a0`, `u0`, `a1`, …: what each product reads and writes besides x. */
function bindingsOf(products: readonly ProductNode[], own: 0 | 1, read: string, written: string) {
  return Object.fromEntries(
    products.flatMap(({ inputs, outputs }, p): [string, Tensor][] => [
      [`${read}${p}`, inputs[own]],
      [`${written}${p}`, outputs[0]],
    ]),
  );
}

/**
 * U_p = x A_pᵀ. All products use a tile's rows of x from registers; with one product per z of the grid, they
 * would be loaded again.
 */
export function projectionLaunch(products: readonly ProductNode[], device: DeviceTraits): Dispatch {
  const [{ attrs, inputs, outputs }] = products;
  const { m, n, k } = problemOf(inputs, outputs[0], attrs);
  const SUBGROUP = sharingLanes(device);
  const TILE_M = SUBGROUP === 0 ? 4 : m < 32 ? 16 : 32;
  const LANES = SUBGROUP || 8;
  const GROUPS = SUBGROUP ? 1 : 8;
  return {
    kernel: renderKernel({ name: "shared_projection", text: projectionText }, {
      PRODUCTS: products.length,
      SUBGROUP,
      LANES,
      GROUPS,
      TILE_M,
    }),
    params: { m, n, k, blocks: attrs.blocks },
    bindings: { x: inputs[0], ...bindingsOf(products, 1, "a", "u") },
    grid: [Math.ceil(m / TILE_M / GROUPS), Math.ceil(n / LANES), attrs.blocks],
  };
}

/** U_p = x A_pᵀ on a GPU, with the bits of `lanes` for one product alone. */
export function lanesLaunch(products: readonly ProductNode[]): Dispatch {
  const [{ attrs, inputs, outputs }] = products;
  const { m, n, k, blocks } = problemOf(inputs, outputs[0], attrs);
  const LANES = lanesOf(k / 4);
  const TEAMS = 128 / LANES;
  const TILE_M = Math.min(m, 2);
  const TILE_N = evenTile(n, 8);
  return {
    kernel: renderKernel({ name: "shared_projection_lanes", text: lanesText }, {
      PRODUCTS: products.length,
      TILE_M,
      TILE_N,
      LANES,
      TEAMS,
    }),
    params: { m, n, k, blocks },
    bindings: { x: inputs[0], ...bindingsOf(products, 1, "a", "u") },
    grid: [Math.ceil(n / TILE_N), Math.ceil(m / TILE_M / TEAMS), blocks],
  };
}

/**
 * dA_p = dU_pᵀ x. The rows of x are summed in the same chunks as for one product alone, so the bits are the
 * same.
 */
export function gradientLaunches(products: readonly ProductNode[], device: DeviceTraits): Dispatch[] {
  const [{ attrs, inputs, outputs }] = products;
  const problem = problemOf(inputs, outputs[0], attrs);
  const { m, n, k } = problem;
  const { blocks } = attrs;
  const piece = pieceOf(attrs.epilogue, problem, device);
  const tile = gradientTile(m, n, [k, piece], sharingLanes(device));
  const { SUBGROUP, LANES, TILE_M, TILE_N } = tile;
  const columns = Math.ceil(n / TILE_N);
  return Array.from({ length: Math.ceil(k / piece) }, (_, i): Dispatch => ({
    kernel: renderKernel({ name: "shared_gradient", text: gradientText }, {
      PRODUCTS: products.length,
      ADD: Number(i > 0),
      ...tile,
    }),
    params: { m, n, k: Math.min(piece, k - i * piece), blocks, start: i * piece },
    bindings: { x: inputs[1], ...bindingsOf(products, 0, "g", "c") },
    grid: SUBGROUP
      ? [Math.ceil(columns / LANES), m / TILE_M, blocks]
      : [Math.ceil(columns * blocks / LANES), m / TILE_M, 1],
  }));
}

function gradientTile(m: number, n: number, sums: readonly number[], lanes: number) {
  const TILE_M = m % 8 === 0 ? 8 : 4;
  // Lanes run on from block to block where a subgroup per block would leave half of its lanes idle.
  const SUBGROUP = n > 2 * lanes ? lanes : 0;
  const isStep = (step: number) => step * TILE_M / 4 <= SUBGROUP && sums.every((rows) => rows % step === 0);
  return {
    SUBGROUP,
    LANES: SUBGROUP || 32,
    TILE_M,
    // 8 columns per lane only where a block has enough of them for all lanes.
    TILE_N: SUBGROUP > 0 && n >= 8 * SUBGROUP ? 8 : 4,
    K_STEP: [4, 2].find(isStep) ?? 1,
  };
}
