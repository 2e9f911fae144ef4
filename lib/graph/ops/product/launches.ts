/** The launches of a product, and its candidates for the autotuner. */

import type { DeviceTraits } from "../../../gpu/kernel.ts";
import type { Dispatch, Tensor, Variants } from "../../graph.ts";
import { bucketOf, candidates, chosen, explain, pieceOf } from "./choice.ts";
import { addToOutput, definesOf, type Epilogue, isLinear, type Operand } from "./epilogue.ts";

import { few, type Problem, problemOf, transposed } from "./problem.ts";
import type { ProductNode } from "./product.ts";

/**
 * Whether to compute Cᵀ = Bᵀ A instead of C = Aᵀ B. An adapter's dB has r columns; its transpose has r rows,
 * which suits the lanes of the plain kernel.
 */
function isTallGradient(epilogue: Epilogue, { transposeA, transposeB, m, n }: Problem): boolean {
  const fits = isLinear(epilogue) && !epilogue.bias && !epilogue.lowRank;
  return transposeA && !transposeB && fits && n <= few && m > few;
}

/** The problem that is computed. */
function computedProblem({ inputs, outputs, attrs }: ProductNode): Problem {
  const stated = problemOf(inputs, outputs[0], attrs);
  return isTallGradient(attrs.epilogue, stated) ? transposed(stated) : stated;
}

/** The candidates for a product. */
export function variantsOf(node: ProductNode, device: DeviceTraits): Variants {
  const problem = computedProblem(node);
  const { m, n, k, blocks } = problem;
  return {
    bucket: bucketOf(problem),
    candidates: candidates(problem, device).map(({ name, kernel }) => ({
      name,
      kernel: kernel(addToOutput),
    })),
    multiplyAdds: m * n * k * blocks,
    choice: () => explain(problem, device),
  };
}

/**
 * The launches of a product. `operands`: the tensors that it reads besides a and b. Throws nothing: shapes were checked at
 * tracing.
 */
export function launchesOf(
  node: ProductNode,
  operands: ReadonlyMap<Operand | "scales", Tensor>,
  inPlace: boolean,
  device: DeviceTraits,
): Dispatch[] {
  const { inputs: [left, right], outputs, attrs: { splits, epilogue } } = node;
  const problem = computedProblem(node);
  const { m, n, k, a, b, c, blocks, transposeA, transposeB, transposeC } = problem;
  const { kernel, grid } = chosen(problem, device);
  const piece = pieceOf(epilogue, problem, device);
  const scales = operands.get("scales");
  return Array.from({ length: Math.ceil(k / piece) }, (_, i): Dispatch => ({
    kernel: kernel(i === 0 ? definesOf(epilogue, inPlace) : addToOutput),
    grid,
    params: {
      m,
      n,
      k: Math.min(piece, k - i * piece),
      blocks,
      ld_a: a.lead,
      ld_b: b.lead,
      ld_c: c.lead,
      stride_a: a.stride,
      stride_b: b.stride,
      stride_c: c.stride,
      stride_bias: splits.out === "columns" ? n : 0,
      start_a: i * piece * (transposeA ? a.lead : 1),
      start_b: i * piece * (transposeB ? 1 : b.lead),
      scale: epilogue.scale,
      ...i === 0 ? lowRankParams(epilogue, operands, n) : {},
    },
    bindings: {
      a: transposeC ? right : left,
      b: transposeC ? left : right,
      c: outputs[0],
      ...scales ? { scales } : {},
      ...i === 0 ? epilogueBindings(epilogue, operands, outputs, inPlace) : {},
    },
  }));
}

function lowRankParams(
  { lowRank }: Epilogue,
  operands: ReadonlyMap<string, Tensor>,
  n: number,
): Record<string, number> {
  if (!lowRank) return {};
  const [, width] = operands.get("v")!.shape;
  const { blocks, scale } = lowRank;
  return { rank: width / blocks, ld_v: width, block_cols: n / blocks, low_rank_scale: scale };
}

/** What the epilogue reads and writes besides C. In place, C's buffer holds the residual. */
function epilogueBindings(
  { gelu }: Epilogue,
  operands: ReadonlyMap<string, Tensor>,
  [, activated]: readonly Tensor[],
  inPlace: boolean,
): Record<string, Tensor> {
  const read = [...operands].filter(([name]) => name !== "scales" && !(inPlace && name === "residual"));
  return { ...gelu === "beside" ? { activated } : {}, ...Object.fromEntries(read) };
}
